"""Custom networks: a list of layers from the configuration, or a function that returns a Keras model."""

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import keras
from keras.src.utils.naming import to_snake_case

from convoy.errors import ModelError, did_you_mean
from convoy.models.input_scale import InputScale, keeps_scale, normalises
from convoy.models.layers.blocks import KerasTensor, known_layers
from convoy.models.layers.custom import LocalResponseNormalization, Maxout
from convoy.models.rewiring import Operation, finalize_normalisation, is_softmax, replay
from convoy.models.summary.shape_checks import named_failures

# Layers that take one tensor, load in safe mode and run on any device. Layers that merge tensors need a function.
_KINDS = known_layers(
    *("Activation", "AlphaDropout", "BatchNormalization", "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose"),
    *("Conv3D", "Conv3DTranspose", "Cropping1D", "Cropping2D", "Cropping3D", "Dense", "DepthwiseConv1D"),
    *("DepthwiseConv2D", "Dropout", "ELU", "EinsumDense", "Embedding", "Flatten", "GRU", "GaussianDropout"),
    *("GaussianNoise", "GroupNormalization", "Identity", "LSTM", "LayerNormalization", "LeakyReLU", "Masking", "PReLU"),
    *("Permute", "RMSNormalization", "ReLU", "RepeatVector", "Rescaling", "Reshape", "Resizing", "SeparableConv1D"),
    *("SeparableConv2D", "SimpleRNN", "Softmax", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
    *("UnitNormalization", "UpSampling1D", "UpSampling2D", "UpSampling3D"),
    *(f"{kind}Pooling{n}D" for kind in ("Average", "Max", "GlobalAverage", "GlobalMax") for n in (1, 2, 3)),
    *(f"ZeroPadding{n}D" for n in (1, 2, 3)),
)
_RESERVED = ("image", "rescale", "normalise")  # names of the preceding layers
_SOFTMAX = "expected a softmax over the {} classes as the last layer"


def _plain(name: str) -> str:
    """Return the same key for ``MaxPooling2D`` and ``max_pooling2d``."""
    return name.replace("_", "").lower()


def _snake_case(kind: str) -> str:
    """Return a class name as in Keras' names of layers: ``MaxPooling2D`` -> ``max_pooling2d``."""
    return str(to_snake_case(kind))


_LAYERS: dict[str, type[keras.layers.Layer]] = {
    **{_plain(kind): layer for kind, layer in _KINDS.items()},
    "maxout": Maxout,
}


def identifiers(module: ModuleType) -> list[str]:
    """Return the names that Keras accepts for the functions of ``keras.activations``, ``.initializers`` and so on."""
    functions = ("get", "serialize", "deserialize")
    return [name for name in dir(module) if name.islower() and name[0] != "_" and name not in functions]


def from_layers(x: KerasTensor, layers: Sequence[dict[str, Any] | str], num_classes: int) -> KerasTensor:
    """Apply the layers of ``model.layers`` in order.

    Args:
        x: The normalised samples.
        layers: Each ``{<Keras layer>: {<argument>: value}}``; the last one is a softmax over the classes. A layer
            without ``name`` is named after its kind, ``conv2d_1`` and so on; the last one ``output``.
        num_classes: Number of classes.

    Returns:
        The class probabilities.

    Raises:
        ModelError: A layer or an argument is unknown, or Keras does not accept it.
        ValueError: A layer does not fit its input; raised by Keras.
    """
    names = {*_RESERVED}
    given = [_entry(layer) for layer in layers]
    for number, (_, arguments) in enumerate(given, 1):
        name = arguments.get("name")
        if name in names:
            raise ModelError(f"layer {number} of model.layers is named {name!r}, which is taken; give it another name")
        if name is not None:
            names.add(name)
    for number, (kind, arguments) in enumerate(given, 1):
        where = f"layer {number} of model.layers ({kind})"
        cls = _LAYERS.get(_plain(kind))
        if cls is None:
            known = [*map(_snake_case, _KINDS), "maxout"]
            raise ModelError(f"{where} is not a known layer{did_you_mean(kind.lower(), known) or _ONE_INPUT}")
        last = number == len(given)
        if "name" not in arguments:
            prefix = _snake_case(cls.__name__)
            free = (f"{prefix}_{count}" for count in range(1, len(given) + 1) if f"{prefix}_{count}" not in names)
            arguments["name"] = "output" if last and "output" not in names else next(free)
            names.add(arguments["name"])
        if last and cls is keras.layers.Dense:
            arguments.setdefault("units", num_classes)
        x = _layer(cls, arguments, where)(x)
    _check_output(x, num_classes, "model.layers", "- dense: {activation: softmax}, whose units can be omitted")
    return x


_ONE_INPUT = "; expected a Keras layer of one input, e.g. conv2d; networks that branch need a function"


def _entry(layer: dict[str, Any] | str) -> tuple[str, dict[str, Any]]:
    if isinstance(layer, str):
        return layer, {}
    ((kind, arguments),) = layer.items()
    return kind, dict(arguments or {})


def _layer(cls: type[keras.layers.Layer], arguments: dict[str, Any], where: str) -> keras.layers.Layer:
    parameters = dict(inspect.signature(cls).parameters)
    known = [name for name, parameter in parameters.items() if parameter.kind is not parameter.VAR_KEYWORD]
    known += [name for name in ("name", "trainable") if name not in known]
    for name, value in arguments.items():
        if name not in known:
            raise ModelError(f"{where} has no argument {name!r}{did_you_mean(name, known) or _of(known)}")
        _check_identifier(name, value, where)
    missing = [name for name in known if name in parameters and parameters[name].default is inspect.Parameter.empty]
    missing = [name for name in missing if name not in arguments]
    if missing:
        raise ModelError(f"{where} lacks {' and '.join(missing)}")
    try:
        return cls(**arguments)
    except Exception as error:  # Keras' conversions may raise anything
        raise ModelError(f"{where} is not as Keras expects it: {_first_line(error)}") from None


def _check_identifier(name: str, value: Any, where: str) -> None:
    """Raise ``ModelError`` for the name of an activation, initialiser ... that Keras does not have."""
    kind = name.rpartition("_")[2]
    module = getattr(keras, {"activation": "activations", "constraint": "constraints"}.get(kind, f"{kind}s"), None)
    if kind not in ("activation", "initializer", "regularizer", "constraint") or not isinstance(value, str):
        return
    assert module is not None
    try:
        module.get(value)
    except ValueError:
        hint = "; maxout is a separate layer, after this one" if value == "maxout" else ""
        hint = hint or did_you_mean(value, identifiers(module)) or _of(identifiers(module))
        raise ModelError(f"{where} has an unknown {name} {value!r}{hint}") from None


def _of(known: Sequence[str]) -> str:
    return f"; expected one of {', '.join(known)}"


def scale_of_layers(layers: Sequence[dict[str, Any] | str]) -> InputScale:
    """Return what the first of ``model.layers`` do to the scale of the samples; errors are left to ``from_layers``."""
    for number, (kind, arguments) in enumerate(map(_entry, layers), 1):
        cls = _LAYERS.get(_plain(kind))
        name = arguments.get("name", kind)
        if cls is None or not keeps_scale(cls):
            return InputScale((), (name,))
        if issubclass(cls, (keras.layers.Rescaling, keras.layers.Normalization)) and normalises(
            _layer(cls, arguments, f"layer {number} of model.layers ({kind})")
        ):
            return InputScale((name,), ())
        if arguments.get("activation") not in (None, "linear"):
            return InputScale((), (name,))
    return InputScale((), ())


def called_function(name: str, shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """Call the user's function and return its network, checked.

    Args:
        name: ``package.module:function``, a function of the shape of a sample and the number of classes.
        shape: Shape of a sample.
        num_classes: Number of classes.

    Raises:
        ModelError: There is no such function, it fails, or its result is not a network from such samples to a softmax
            over the classes.
    """
    model = _called(_function(name), name, shape, num_classes)
    where = f"model.name {name!r}"
    if not isinstance(model, keras.Model):
        raise ModelError(f"{where} returns {type(model).__name__}; expected a Keras model (keras.Model)")
    model = _functional(model, where)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"{where} returns a network with {len(model.inputs)} inputs and {len(model.outputs)} outputs;"
            " expected one of each"
        )
    takes = tuple(model.inputs[0].shape[1:])
    if len(takes) != len(shape) or any(a is not None and a != b for a, b in zip(takes, shape, strict=True)):
        raise ModelError(
            f"{where} returns a network that takes {takes}; expected one for the dataset's samples, {shape}"
        )
    _check_output(model.outputs[0], num_classes, where, 'keras.layers.Dense(num_classes, activation="softmax")')
    return model


def from_function(model: keras.Model, x: KerasTensor, name: str) -> KerasTensor:
    """Apply the network of a function layer by layer, so that each layer can be inspected and rewritten.

    Args:
        model: The result of ``called_function``.
        x: The samples.
        name: Name of the function.

    Returns:
        The class probabilities, from copies of the network's layers with its weights.

    Raises:
        ModelError: Scoring could not load one of the layers.
    """
    return _inlined(model, x, f"model.name {name!r}")


def _function(name: str) -> Callable[..., Any]:
    """Import and return the function; modules in the current directory are found too, also on ranks."""
    module_name, _, function_name = name.partition(":")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise ModelError(
                f"model.name {name!r}: there is no module {error.name!r} in {here} or where Python looks; start the job"
                " in the folder that contains it, or pass it to spark-submit with --py-files"
            ) from None
        raise ModelError(f"model.name {name!r}: {module_name} cannot be imported: {_told(error)}") from None
    function = getattr(module, function_name, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        hint = did_you_mean(function_name, known)
        raise ModelError(f"model.name {name!r}: {module.__file__} has no function {function_name!r}{hint}")
    return function


def _called(function: Callable[..., Any], name: str, shape: tuple[int, ...], num_classes: int) -> Any:
    try:
        with named_failures():
            model = function(shape, num_classes)
            if isinstance(model, keras.Sequential) and not model.built:
                model.build((None, *shape))
        return model
    except ModelError as error:
        raise ModelError(f"model.name {name!r} does not fit samples of {shape}: {error}") from None
    except Exception as error:
        raise ModelError(f"model.name {name!r} fails for samples of {shape}: {_told(error)}") from None


def _functional(model: keras.Model, where: str) -> keras.Model:
    """Return the network as a graph of layers."""
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs, model.outputs, name=model.name)
    if not hasattr(model, "operations"):
        raise ModelError(
            f"{where} returns a {type(model).__name__} whose layers cannot be inspected; expected a functional or"
            " sequential network: keras.Model(inputs, outputs) or keras.Sequential([...])"
        )
    return model


def _inlined(model: keras.Model, x: KerasTensor, where: str) -> KerasTensor:
    """Apply copies of all layers, including those of nested networks."""
    copies: dict[int, tuple[Operation, Operation]] = {}  # a layer may be used at several places, in several networks

    def copy(operation: Operation) -> Operation:
        if isinstance(operation, keras.Model):
            return operation
        if id(operation) in copies:
            return copies[id(operation)][1]
        _check_loadable(operation, where)
        try:
            copied = operation.__class__.from_config(operation.get_config())
        except Exception as error:
            raise ModelError(f"{where}: layer {operation.name!r} cannot be copied: {_first_line(error)}") from None
        copies[id(operation)] = operation, copied
        return copied

    def call(operation: Operation, *arguments: Any, **options: Any) -> KerasTensor:
        if isinstance(operation, keras.Model):  # its training=False has no effect: fit passes training=True
            return replay(_functional(operation, where), arguments[0], copy, call)
        return operation(*arguments, **options)

    (x,) = keras.tree.flatten(replay(model, x, copy, call))
    for original, copied in copies.values():
        if isinstance(original, keras.layers.Layer):
            copied.set_weights(original.get_weights())
    finalize_normalisation(copied for _, copied in copies.values())
    return x


def _check_loadable(operation: Operation, where: str) -> None:
    kind = type(operation)
    is_own = isinstance(operation, (LocalResponseNormalization, Maxout))
    if isinstance(operation, keras.layers.Lambda) or not (is_own or kind.__module__.split(".")[0] == "keras"):
        raise ModelError(
            f"{where}: layer {operation.name!r} is a {kind.__name__}, which evaluation and scoring could not load;"
            " expected Keras' layers, without Lambda, or those of convoy.models.layers.custom"
        )
    activation = getattr(operation, "activation", None)
    if activation is not None and activation.__module__.split(".")[0] != "keras":
        raise ModelError(
            f"{where}: layer {operation.name!r} has a custom activation, {getattr(activation, '__name__', '')},"
            " which evaluation and scoring could not load; expected one of Keras'"
        )


def _check_output(output: KerasTensor, num_classes: int, where: str, example: str) -> None:
    last = output._keras_history.operation
    expected = f"{_SOFTMAX.format(num_classes)}, e.g. {example}"
    if tuple(output.shape) != (None, num_classes):
        raise ModelError(f"{where}: the last layer, {last.name!r}, returns {tuple(output.shape[1:])}; {expected}")
    if not is_softmax(last):
        raise ModelError(f"{where}: the last layer, {last.name!r}, is not a softmax; {expected}")


def _told(error: Exception) -> str:
    """Return the error's type, its first line and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename and not frame.filename.startswith("<")]
    place = own[-1] if own else None
    at = f" ({place.filename}, line {place.lineno})" if place and place.filename != __file__ else ""
    return f"{type(error).__name__}: {_first_line(error)}{at}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
