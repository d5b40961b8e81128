"""Checks that layers fit their inputs: one-line messages for Keras' errors, and optional errors for remainders."""

import inspect
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from convoy.errors import ConvoyError, ModelError
from convoy.models.summary.arithmetic import AXES, Window, same, times
from convoy.models.summary.graph import Shape, calls_of

FILTERS = (
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
)
POOLINGS = (
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.MaxPooling3D,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
_MERGES = (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
_REFUSALS = (ValueError, TypeError, tf.errors.InvalidArgumentError)


def windows_of(layer: Any, shape: Shape) -> tuple[Window, ...] | None:
    """Return the windows of a convolution or pooling over an input, one per axis.

    Args:
        layer: Any layer.
        shape: Shape of its input, without the batch axis.

    Returns:
        The windows; None for layers of other kinds, inputs with unknown sides, and data format channels_first.
    """
    if not isinstance(layer, FILTERS + POOLINGS) or layer.data_format != "channels_last":
        return None
    sizes = layer.pool_size if isinstance(layer, POOLINGS) else layer.kernel_size
    dilations = (1,) * len(sizes) if isinstance(layer, POOLINGS) else layer.dilation_rate
    if len(shape) != len(sizes) + 1:
        return None
    windows = []
    for side, size, stride, dilation in zip(shape[:-1], sizes, layer.strides, dilations, strict=True):
        if side is None:
            return None
        if layer.padding == "same":
            windows.append(same(side, size, stride, dilation))
        else:
            causal = (size - 1) * dilation if layer.padding == "causal" else 0
            windows.append(Window(size, stride, dilation, causal, 0))
    return tuple(windows)


def check_geometry(model: keras.Model, strict: bool) -> None:
    """Raise ``ModelError`` unless the filters and strides of a network fit their inputs.

    Args:
        model: The network.
        strict: Raise an error if an unpadded convolution or pooling does not tile its input exactly. Keras rounds the
            output down and silently drops the last rows and columns.

    Raises:
        ModelError: A layer does not fit; the message has the layer, the formula and the nearest values that fit.
    """
    for call in calls_of(model):
        if any(0 in shape for shape in call.outputs):
            raise ModelError(f"layer {call.name!r} ({_kind(call.layer)}) leaves nothing of {_sizes(call.inputs)}")
        windows = windows_of(call.layer, call.inputs[0]) if call.inputs else None
        if strict and windows and call.layer.padding == "valid":
            sides = _sides(call.inputs[0])
            if not all(window.fits(side) for window, side in zip(windows, sides, strict=True)):
                raise ModelError(_misfit(call.name, call.layer, windows, sides))


@contextmanager
def named_failures() -> Iterator[None]:
    """Convert Keras' errors about a layer, while a network is built within the block, to one-line errors.

    Errors of other code, e.g. of a user's function, are not changed.

    Raises:
        ModelError: A layer does not fit its input, or its arguments are wrong; the message has the layer's name and
            kind, the shape of its input, the formula and the nearest values that fit.
    """
    filtered = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()  # filtering would remove the frames that contain the layer
    try:
        yield
    except ConvoyError:
        raise
    except _REFUSALS as error:
        message = _explain(error)
        if message is None:
            raise
        raise ModelError(message) from None
    finally:
        if filtered:
            keras.config.enable_traceback_filtering()


def _explain(error: Exception) -> str | None:
    """Return a one-line message for an error raised by Keras; None if other code raised it."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if frames[-1].f_globals.get("__name__", "").partition(".")[0] not in ("keras", "tensorflow"):
        return None
    calls = [frame for frame in frames if _is_layer(frame.f_locals.get("self"))]
    if not calls:
        return None
    layer = calls[-1].f_locals["self"]
    reached: list[Shape] = []
    origins: list[str] = []
    for frame in calls:
        if frame.f_locals["self"] is layer and frame.f_code.co_name in ("__call__", "symbolic_call"):
            given = keras.tree.flatten((frame.f_locals.get("args", ()), frame.f_locals.get("kwargs", {})))
            tensors = [value for value in given if isinstance(value, keras.KerasTensor)]
            reached = [tuple(tensor.shape[1:]) for tensor in tensors]
            origins = [_origin(tensor) for tensor in tensors]
            break
    name = (
        getattr(layer, "name", None)
        or calls[-1].f_locals.get("name")
        or calls[-1].f_locals.get("kwargs", {}).get("name")
    )
    title = f"layer {name!r} ({_kind(layer)})" if name else f"a layer {_kind(layer)}"
    said = _first_line(error)
    if not reached:
        return f"{title}: {said}"
    return (
        _known_misfit(name or "", layer, title, reached, origins) or f"{title} does not take {_sizes(reached)}: {said}"
    )


def _known_misfit(name: str, layer: Any, title: str, reached: list[Shape], origins: list[str]) -> str | None:
    """Return an explanation, with numbers, of a known kind of mismatch; None for other kinds."""
    shape = reached[0]
    spec = getattr(layer, "input_spec", None)
    expected = getattr(spec, "ndim", None) or getattr(spec, "min_ndim", None)
    if expected and len(shape) + 1 < expected:
        axes = ", ".join((*AXES.get(expected - 2, ("...",)), "channels"))
        return f"{title} takes ({axes}), but its input is {times(shape)}, with {_count(len(shape), 'axis', 'axes')}"
    channels = (getattr(spec, "axes", None) or {}).get(-1)
    if channels and shape and channels != shape[-1]:
        return f"{title} was built for {channels} channels, but its input is {times(shape)}, with {shape[-1]}"
    groups = getattr(layer, "groups", 1)
    if isinstance(layer, FILTERS) and shape and shape[-1] and shape[-1] % groups:
        fitting = _join([n for n in range(1, shape[-1] + 1) if shape[-1] % n == 0 and layer.filters % n == 0], "and")
        below = shape[-1] // groups * groups
        sizes = _join([n for n in (below, below + groups) if n], "or")
        return (
            f"{title}: {times(shape)} has {shape[-1]} channels, and {shape[-1]}/{groups} groups ="
            f" {shape[-1] / groups:.4g} is not a whole number; groups {fitting} fit, or {sizes} channels"
        )
    windows = windows_of(layer, shape)
    if windows and any(window.output(side) < 1 for window, side in zip(windows, _sides(shape), strict=True)):
        return _misfit(name, layer, windows, _sides(shape))
    if isinstance(layer, (layers.Concatenate, *_MERGES)) or len(reached) > 1:
        return _differing(layer, title, reached, origins)
    return None


def _misfit(name: str, layer: Any, windows: Sequence[Window], sides: Sequence[int]) -> str:
    """Return a message about a window that is larger than its input or leaves a remainder, with values that fit."""
    pairs = list(zip(windows, sides, strict=True))
    worst = next((i for i, (window, side) in enumerate(pairs) if window.output(side) < 1), None)
    if worst is None:
        worst = next(i for i, (window, side) in enumerate(pairs) if not window.fits(side))
    window, side = pairs[worst]
    alike = len(set(pairs)) == 1
    axis = AXES[len(sides)][worst]

    def shown(value: int) -> str:
        return times([value] * len(sides)) if alike else str(value)

    what = "window" if isinstance(layer, POOLINGS) else "filter"
    stride = str(window.stride) if len({w.stride for w in windows}) == 1 else times(w.stride for w in windows)
    dilated = f" (dilation {window.dilation}: {window.extent} wide)" if window.dilation > 1 else ""
    size = times(w.size for w in windows)
    slides = f"a {what} of {size}" if len(sides) == 1 else f"a {size} {what}"
    text = f"layer {name!r} ({_kind(layer)}): {times(sides)} with {slides}{dilated}"
    text += f" at stride {stride}: {window.formula(side)}" + ("" if alike or len(sides) == 1 else f" for the {axis}")
    inputs = "inputs" if alike else f"{axis}s"
    if window.output(side) < 1:
        largest = window.largest_size(side)
        fits = [f"{what}s of up to {shown(largest)} fit"] if largest else []
        fits.append(f"{inputs} of at least {shown(window.smallest_side())}")
        return f"{text} leaves nothing; {', '.join(fits)}, or padding 'same'"
    strides = window.strides_that_fit(side)
    fits = [f"stride{'s' * (len(strides) > 1)} {_join(strides, 'and')} fit{'s' * (len(strides) == 1)}"]
    if sizes := window.sizes_that_fit(side):
        fits.append(f"{what}s of {_join([shown(value) for value in sizes], 'or')}")
    fits.append(f"{inputs} of {_join([shown(value) for value in window.sides_that_fit(side)], 'or')}")
    return f"{text} is not a whole number; {', '.join(fits)}, or padding 'same'"


def _differing(layer: Any, title: str, reached: list[Shape], origins: list[str]) -> str | None:
    """Return a message about the axes in which a layer's inputs differ; None if they do not differ."""
    rank = len(reached[0])
    meeting = _join([times(shape) + origin for shape, origin in zip(reached, origins, strict=True)], "and")
    if any(len(shape) != rank for shape in reached):
        return f"{title}: {meeting} have different numbers of axes; Flatten or Reshape makes them alike"
    joined = None
    if isinstance(layer, layers.Concatenate):
        joined = layer.axis - 1 if layer.axis > 0 else rank + layer.axis
    names = (*AXES.get(rank - 1, ()), "channels")
    problems = []
    for axis in range(rank):
        known = {side for shape in reached if (side := shape[axis]) is not None}
        sides = sorted(known if joined is not None else known - {1})  # 1 is broadcast to any side
        if axis == joined or len(sides) < 2:
            continue
        problems.append(f"{names[axis]} {_join(sides, 'and')}" if len(names) == rank else _join(sides, "and"))
        low, high = sides[0], sides[-1]
        if axis == rank - 1:
            fix = f"give all of them {low} or {high} channels, by their filters or a 1x1 convolution"
        elif high % low == 0:
            fix = f"a stride or pooling of {high // low} on the path of the larger makes them equal"
        else:
            fix = "padding 'same' and the same strides on all paths make them equal"
    if not problems:
        return None
    others = "all axes but the joined one" if joined is not None else "all axes"
    return f"{title}: {meeting} do not fit together: {', '.join(problems)}, where {others} must agree; {fix}"


def _is_layer(value: Any) -> bool:
    return isinstance(value, keras.Operation) and not isinstance(value, keras.Model)


def _kind(layer: Any) -> str:
    return type(layer).__name__


def _origin(tensor: Any) -> str:
    operation = getattr(getattr(tensor, "_keras_history", None), "operation", None)
    return f" (of {operation.name!r})" if operation is not None else ""


def _sizes(shapes: Sequence[Shape]) -> str:
    return _join([times(shape) for shape in shapes], "and")


def _sides(shape: Shape) -> tuple[int, ...]:
    return tuple(side for side in shape[:-1] if side is not None)


def _join(values: Sequence[Any], word: str) -> str:
    *most, last = map(str, values)
    return f"{', '.join(most)} {word} {last}" if most else last


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _first_line(error: Exception) -> str:
    return inspect.cleandoc(str(getattr(error, "message", error))).partition("\n")[0].rstrip(".")
