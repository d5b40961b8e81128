"""Whether a network normalises its samples by itself, as its first layers show.

Samples pass layers that keep their scale (augmentation, resizing, reshaping, pooling, selection of channels, nested
networks of such layers) until a layer changes it: a ``Rescaling`` or ``Normalization`` or arithmetic with constants, as
in ``keras.applications``' ``preprocess_input``, normalises; any other layer takes the samples as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from convoy.models.rewiring import Operation

_KEEP_LAYERS = (
    *("Activation", "AlphaDropout", "Average", "Concatenate", "Cropping1D", "Cropping2D", "Cropping3D", "Dropout"),
    *("Flatten", "GaussianDropout", "GaussianNoise", "Identity", "InputLayer", "Masking", "Permute", "RepeatVector"),
    *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "UpSampling1D", "UpSampling2D", "UpSampling3D"),
    *("Reshape", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "ActivityRegularization"),
    *(f"{kind}Pooling{n}D" for kind in ("Average", "Max") for n in (1, 2, 3)),
)
_KEEP_OPERATIONS = (
    *("BroadcastTo", "Cast", "Clip", "Concatenate", "CropImages", "ExpandDims", "Flip", "GetItem", "Identity"),
    *("Moveaxis", "Pad", "PadImages", "RGBToGrayscale", "Repeat", "Reshape", "Resize", "Split", "Squeeze", "Stack"),
    *("Swapaxes", "Take", "Tile", "Transpose"),
)
_ARITHMETIC = ("Add", "Divide", "Multiply", "Subtract", "TrueDivide")
_PREPROCESSING = ".layers.preprocessing."  # modules of augmentation, resizing and cropping, also in Keras 3.2


@dataclass(frozen=True)
class InputScale:
    """What the first layers of a network do to the scale of its samples.

    Attributes:
        normalising: Names of the layers that change it.
        unchanged: Names of the layers that take the samples in their own scale.
    """

    normalising: tuple[str, ...]
    unchanged: tuple[str, ...]

    @property
    def is_normalised(self) -> bool:
        """Return whether every path from the input leads through a layer that changes the scale."""
        return bool(self.normalising) and not self.unchanged

    @property
    def is_mixed(self) -> bool:
        """Return whether only some paths do."""
        return bool(self.normalising) and bool(self.unchanged)


def input_scale(model: keras.Model) -> InputScale:
    """Analyse the first layers of a network, including nested networks.

    Args:
        model: A functional or sequential network; of another one nothing is known: both lists are empty.
    """
    normalising: dict[str, None] = {}
    unchanged: dict[str, None] = {}
    _follow(model, normalising, unchanged)
    return InputScale(tuple(normalising), tuple(unchanged))


def normalises(layer: Operation) -> bool:
    """Return whether a layer changes the scale of its samples on purpose; one without effect does not."""
    if isinstance(layer, keras.layers.Rescaling):
        return bool(np.any(np.asarray(layer.scale) != 1) or np.any(np.asarray(layer.offset) != 0))
    if isinstance(layer, keras.layers.Normalization):
        return not _has_no_effect(layer)
    return False


def keeps_scale(kind: type) -> bool:
    """Return whether layers of a class pass their samples on in the same scale; the first of them may be selected."""
    if issubclass(kind, (keras.layers.Rescaling, keras.layers.Normalization)):
        return True  # those without effect: ``normalises`` decides first
    return kind.__name__ in _KEEP_LAYERS or (_PREPROCESSING in kind.__module__ and issubclass(kind, keras.layers.Layer))


def _has_no_effect(layer: keras.layers.Normalization) -> bool:
    """Return whether mean and variance are 0 and 1, as before ``adapt`` and in networks without their weights."""
    if layer.input_mean is not None:
        mean, variance = layer.input_mean, layer.input_variance
    else:
        try:
            mean, variance = layer.get_weights()[:2]
        except Exception:  # its weights have no values: the network was built for inspection
            return False
    return not np.any(np.asarray(mean)) and bool(np.all(np.asarray(variance) == 1))


def _follow(model: keras.Model, normalising: dict[str, None], unchanged: dict[str, None]) -> bool:
    """Collect the layers that samples reach in their own scale; return whether the output is in that scale."""
    graph = model._functional if isinstance(model, keras.Sequential) else model
    if graph is None or not hasattr(graph, "_nodes_by_depth"):
        return False
    own = {id(tensor) for tensor in graph.inputs}
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            operation, takes = node.operation, [id(tensor) in own for tensor in node.input_tensors]
            if any(takes) and _passes(operation, node, normalising, unchanged):
                own |= {id(tensor) for tensor in node.output_tensors}
    return any(id(tensor) in own for tensor in graph.outputs)


def _passes(operation: Operation, node: Any, normalising: dict[str, None], unchanged: dict[str, None]) -> bool:
    """Return whether the outputs of an operation are in the scale of the samples that it takes."""
    if isinstance(operation, keras.Model):
        known = operation._functional if isinstance(operation, keras.Sequential) else operation
        if known is not None and hasattr(known, "_nodes_by_depth"):
            return _follow(operation, normalising, unchanged)
    elif isinstance(operation, keras.layers.Layer):
        if normalises(operation):
            normalising[operation.name] = None
            return False
        linear = getattr(operation, "activation", keras.activations.linear) is keras.activations.linear
        if keeps_scale(type(operation)) and linear:
            return True
    elif type(operation).__name__ in _KEEP_OPERATIONS:
        return True
    elif type(operation).__name__ in _ARITHMETIC and len(node.input_tensors) == 1:
        normalising[operation.name] = None
        return False
    unchanged[operation.name] = None
    return False


def listed(names: Sequence[str]) -> str:
    """Return the names of layers for a message, the first three of them."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
