"""Multiply-adds, memory and receptive field of a layer."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import tensorflow as tf
from keras import layers

from convoy.models.summary.arithmetic import Field, Window, widest
from convoy.models.summary.graph import Call
from convoy.models.summary.shape_checks import FILTERS, TRANSPOSED, windows_of

Sees: TypeAlias = Field | Literal["all"] | None
"""A receptive field, the whole input, or unknown."""

_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
UPSAMPLING = (layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D)
_NEIGHBOURS = {"nearest": 1, "bilinear": 2, "bicubic": 4}
_ACROSS = (  # layers whose every output depends on every place
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
    layers.Attention,
    layers.AdditiveAttention,
    layers.MultiHeadAttention,
    layers.GroupQueryAttention,
    layers.RNN,
    layers.Bidirectional,
)
PADDINGS = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)
CROPPINGS = (layers.Cropping1D, layers.Cropping2D, layers.Cropping3D)
_VIEWS = (layers.Flatten, layers.Reshape)
_ELEMENTWISE = (layers.Embedding, layers.Normalization, layers.PReLU, layers.LayerNormalization)
_REDUCTIONS = ("Mean", "Max", "Sum", "Min", "Amax", "Amin")  # of keras.ops


def multiply_adds(call: Call) -> int | None:
    """Return the multiply-adds of a convolution or dense layer for one sample.

    Elementwise operations (bias, activation, normalisation, pooling) are not counted, as usual.

    Returns:
        The number; None for a layer with weights of an unsupported kind.
    """
    layer = call.layer
    if isinstance(layer, _SEPARABLE):
        kernels = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
        return _product(call.outputs[0][:-1], kernels)
    if isinstance(layer, TRANSPOSED):
        return _product(call.inputs[0][:-1], math.prod(layer.kernel.shape))
    if isinstance(layer, FILTERS):
        return _product(call.outputs[0][:-1], math.prod(layer.kernel.shape))
    if isinstance(layer, layers.Dense):
        return _product(call.inputs[0][:-1], math.prod(layer.kernel.shape))
    has_matrix = any(len(weight.shape) > 1 for weight in getattr(layer, "weights", ()))
    return None if has_matrix and not isinstance(layer, _ELEMENTWISE) else 0


def activation_bytes(call: Call, half: bool) -> int | None:
    """Return the memory of the layer's output for one sample; views need none.

    Args:
        call: The layer.
        half: Whether floats are computed in 16 bits.
    """
    if isinstance(call.layer, _VIEWS):
        return 0
    width = 2 if half and call.dtype.startswith("float") else dtype_bytes(call.dtype)
    sizes = [_product(shape, width) for shape in call.outputs]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def factors_of(layer: Any) -> tuple[int, ...]:
    """Return the factor by which an upsampling layer enlarges each axis."""
    return (layer.size,) if isinstance(layer.size, int) else tuple(layer.size)


def dtype_bytes(dtype: str) -> int:
    """Return the number of bytes of a value of that type."""
    return int(tf.as_dtype(dtype).size)


def sees_after(call: Call, before: Sequence[Sees]) -> Sees:
    """Return the receptive field of the layer's output in the network's input.

    Args:
        call: The layer.
        before: The receptive field of each of its inputs; of merged branches, the widest counts.
    """
    layer = call.layer
    if isinstance(layer, layers.InputLayer):
        rank = len(call.outputs[0]) - 1
        return Field((Fraction(1),) * rank, (Fraction(1),) * rank)
    fields = [field for field in before if isinstance(field, Field)]
    if "all" in before:
        return "all"
    if not before or len(fields) < len(before) or len({len(field.size) for field in fields}) != 1:
        return None
    field, shape = widest(fields), call.inputs[0]
    if isinstance(layer, _ACROSS) or (isinstance(layer, layers.Dense) and len(shape) == 1):
        return "all"
    if type(layer).__name__ in _REDUCTIONS and len(call.outputs[0]) < len(shape):
        return "all"
    windows = windows_of(layer, shape)
    if windows is not None:
        return field.through(windows)
    if isinstance(layer, TRANSPOSED):
        return field.through_transposed([Window(*pair) for pair in zip(layer.kernel_size, layer.strides, strict=True)])
    if isinstance(layer, UPSAMPLING):
        return field.enlarged(factors_of(layer), _NEIGHBOURS.get(getattr(layer, "interpolation", "nearest"), 4))
    if isinstance(layer, PADDINGS + CROPPINGS) or (isinstance(layer, _VIEWS) and len(call.outputs[0]) == 1):
        return field
    known = type(layer).__module__.partition(".")[0] in ("keras", "convoy")
    return field if known and call.outputs[0][:-1] == shape[:-1] else None


def _product(shape: Sequence[int | None], factor: int) -> int | None:
    """Return the product of all sides and the factor; None if a side is unknown."""
    sides = [side for side in shape if side is not None]
    return math.prod(sides) * factor if len(sides) == len(shape) else None
