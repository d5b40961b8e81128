"""Recording of layers' outputs while a network runs, and selection of layers with ReLUs or kernels.

Layers are recorded when they are called, so that nested networks, custom layers and clones in 16 bits work like any
other, and the network is not changed.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np

from convoy.models.layers.blocks import KerasTensor

_MISSING = object()
_RELUS = {"relu", "relu6"}
CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)


def leaf_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return all layers in order, each once, with nested networks replaced by their layers."""
    found: dict[int, keras.layers.Layer] = {}
    for layer in model.layers:
        inner = leaf_layers(layer) if isinstance(layer, keras.Model) else [layer]
        found |= {id(leaf): leaf for leaf in inner}
    return list(found.values())


def has_relu(layer: keras.layers.Layer) -> bool:
    """Return whether a layer's output is that of a ReLU: 0 for all negative values."""
    if isinstance(layer, keras.layers.ReLU):
        return not layer.negative_slope
    return getattr(getattr(layer, "activation", None), "__name__", "") in _RELUS


def has_kernel(layer: keras.layers.Layer) -> bool:
    """Return whether a layer has trainable weights other than one value per channel, as a convolution has."""
    return any(len(weight.shape) > 1 for weight in layer.trainable_variables)


def spread(layers: Sequence[Any], most: int) -> list[Any]:
    """Return at most ``most`` of the layers, evenly spaced over the depth, including the first and the last."""
    if len(layers) <= most:
        return list(layers)
    return [layers[i] for i in np.linspace(0, len(layers) - 1, most).round().astype(int)]


@contextmanager
def recorded(layers: Sequence[keras.layers.Layer]) -> Iterator[dict[int, KerasTensor]]:
    """Record the outputs of these layers, in the order of the calls: id of the layer -> its last output.

    Only outputs that are a single tensor are recorded.
    """
    outputs: dict[int, KerasTensor] = {}

    def watch(layer: keras.layers.Layer) -> None:
        call = layer.call

        def watched(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            outputs.pop(id(layer), None)
            if hasattr(output, "shape"):
                outputs[id(layer)] = output
            return output

        stack.enter_context(_replaced(layer, "call", watched))

    with ExitStack() as stack:
        for layer in layers:
            watch(layer)
        yield outputs


@contextmanager
def logits_noted(model: keras.Model) -> Iterator[list[KerasTensor]]:
    """Record the input of the last layer's softmax at each call.

    Nothing is recorded if the last layer is neither a dense layer with a softmax activation nor a softmax layer.
    """
    noted: list[KerasTensor] = []
    last = leaf_layers(model)[-1]

    def softmax(x: KerasTensor, axis: int = -1) -> KerasTensor:
        noted.append(x)
        return keras.activations.softmax(x, axis=axis)

    with ExitStack() as stack:
        if getattr(getattr(last, "activation", None), "__name__", "") == "softmax":
            stack.enter_context(_replaced(last, "activation", softmax))
        elif isinstance(last, keras.layers.Softmax):
            call = last.call

            def noting(x: KerasTensor, *rest: Any, **more: Any) -> Any:
                noted.append(x)
                return call(x, *rest, **more)

            stack.enter_context(_replaced(last, "call", noting))
        yield noted


@contextmanager
def _replaced(layer: keras.layers.Layer, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute of a layer within the block, bypassing Keras' ``__setattr__``, which would track it."""
    own = vars(layer)
    before = own.get(name, _MISSING)
    own[name] = value
    try:
        yield
    finally:
        if before is _MISSING:
            del own[name]
        else:
            own[name] = before


def plain_name(name: str) -> str:
    """Return a layer's name with only characters that names of metrics and files may have."""
    kept = "".join(sign if sign.isalnum() or sign in "_- " else "_" for sign in name)
    return kept[:100] or "_"


def named(layers: Sequence[keras.layers.Layer]) -> dict[str, keras.layers.Layer]:
    """Return layers by their plain names, with a number appended to repeated names."""
    found: dict[str, keras.layers.Layer] = {}
    for layer in layers:
        name, again = plain_name(layer.name), 2
        while name in found:
            name, again = f"{plain_name(layer.name)}_{again}", again + 1
        found[name] = layer
    return found
