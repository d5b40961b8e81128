"""Description of a network layer by layer: shapes, weights, multiply-adds, memory."""

import dataclasses
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras

from convoy.config import TrainingConfig
from convoy.console import as_html
from convoy.models.summary.arithmetic import Field
from convoy.models.summary.flops import (
    CROPPINGS,
    PADDINGS,
    UPSAMPLING,
    Sees,
    activation_bytes,
    dtype_bytes,
    factors_of,
    multiply_adds,
    sees_after,
)
from convoy.models.summary.graph import Call, Shape, calls_of
from convoy.models.summary.shape_checks import POOLINGS, TRANSPOSED, windows_of


@dataclass(frozen=True)
class LayerDescription:
    """A layer at one place of the network.

    Attributes:
        name: Name of the layer.
        kind: Class of the layer, e.g. ``Conv2D``.
        sources: Indices of the layers whose outputs it takes.
        output: Output volume, e.g. (28, 28, 5), channels last; None is an unknown side. With several outputs, the
            first.
        size: F along each axis, for convolutions and pooling.
        stride: S along each axis.
        formula: ``(N - F + 2P)/S + 1 = ...`` with its numbers; one per axis if they differ.
        left_out: Rows and columns at the end of the input that no filter reaches.
        activation: Name of the layer's activation, unless linear.
        parameters: Number of weights; 0 if they were counted at an earlier place.
        trainable: Number of trainable weights.
        multiply_adds: Multiply-adds for one sample; None if unknown.
        sees: Receptive field, or ``all``; None if unknown.
        jump: Distance between neighbours' receptive fields.
        activation_bytes: Memory of the output for one sample; None if unknown.
    """

    name: str
    kind: str
    sources: tuple[int, ...]
    output: Shape
    size: tuple[int, ...] | None
    stride: tuple[int, ...] | None
    formula: str | None
    left_out: tuple[int, ...] | None
    activation: str | None
    parameters: int
    trainable: int
    multiply_adds: int | None
    sees: tuple[int, ...] | str | None
    jump: tuple[float, ...] | None
    activation_bytes: int | None


@dataclass(frozen=True, repr=False)
class NetworkDescription:
    """Description of a network.

    Attributes:
        name: Name of the network.
        layers: The layers, each after those that it takes its input from.
        parameters: Number of weights.
        trainable: Number of trainable weights.
        multiply_adds: Multiply-adds of convolutions and dense layers for one sample.
        uncounted: Names of layers with weights whose multiply-adds are unknown.
        weight_bytes: Memory of the weights.
        activation_bytes: Memory of all layers' outputs for a rank's batch; training keeps them for the gradients.
        global_batch: Samples per step, over all ranks.
        ranks: Number of ranks.
        batch: Samples per step of one rank.
    """

    name: str
    layers: tuple[LayerDescription, ...]
    parameters: int
    trainable: int
    multiply_adds: int
    uncounted: tuple[str, ...]
    weight_bytes: int
    activation_bytes: int
    global_batch: int
    ranks: int
    batch: int

    def __str__(self) -> str:
        """Return the layers as a table, and the totals."""
        from convoy.models.summary.text import full_text

        return full_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from convoy.models.summary.text import summary_of

        return as_html(summary_of(self))

    def as_dict(self) -> dict[str, Any]:
        """Return the description as JSON values."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return values

    def totals(self) -> dict[str, Any]:
        """Return everything except the layers, as JSON values."""
        return {name: value for name, value in self.as_dict().items() if name != "layers"}


def describe(model: keras.Model, training: TrainingConfig) -> NetworkDescription:
    """Return the description of a network; its weights need no values (see ``graph.without_weights``).

    Args:
        model: The network.
        training: Section ``training``, for the batch size, the number of ranks and the precision.
    """
    half = training.precision != "float32"
    ranks = max(1, training.num_workers)
    batch = math.ceil(training.global_batch_size / ranks)
    rows: list[LayerDescription] = []
    fields: list[Sees] = []
    for call in calls_of(model):
        fields.append(sees_after(call, [fields[index] for index in call.sources]))
        rows.append(_layer(call, fields[-1], half))
    weights = model.weights
    return NetworkDescription(
        name=model.name,
        layers=tuple(rows),
        parameters=_count(weights),
        trainable=_count(model.trainable_weights),
        multiply_adds=sum(row.multiply_adds or 0 for row in rows),
        uncounted=tuple(row.name for row in rows if row.multiply_adds is None),
        weight_bytes=sum(math.prod(weight.shape) * dtype_bytes(weight.dtype) for weight in weights),
        activation_bytes=batch * sum(row.activation_bytes or 0 for row in rows),
        global_batch=training.global_batch_size,
        ranks=ranks,
        batch=batch,
    )


def _layer(call: Call, sees: Sees, half: bool) -> LayerDescription:
    layer = call.layer
    windows = windows_of(layer, call.inputs[0]) if call.inputs else None
    sides = call.inputs[0][:-1] if windows else ()
    pairs = [(window, side) for window, side in zip(windows or (), sides, strict=True) if side is not None]
    formulas = [window.formula(side) for window, side in pairs] or _other_formulas(call)
    activation = getattr(getattr(layer, "activation", None), "__name__", None)
    size, stride = None, None
    if windows is not None or isinstance(layer, TRANSPOSED):
        size = tuple(layer.pool_size if isinstance(layer, POOLINGS) else layer.kernel_size)
        stride = tuple(layer.strides)
    return LayerDescription(
        name=call.name,
        kind=type(layer).__name__,
        sources=call.sources,
        output=call.outputs[0] if call.outputs else (),
        size=size,
        stride=stride,
        formula=", ".join(dict.fromkeys(formulas)) or None,
        left_out=tuple(window.rest(side) for window, side in pairs) if windows else None,
        activation=None if activation in (None, "linear") else activation,
        parameters=0 if call.repeated else _count(getattr(layer, "weights", ())),
        trainable=0 if call.repeated else _count(getattr(layer, "trainable_weights", ())),
        multiply_adds=multiply_adds(call),
        sees=tuple(math.ceil(side) for side in sees.size) if isinstance(sees, Field) else sees,
        jump=tuple(float(jump) for jump in sees.jump) if isinstance(sees, Field) else None,
        activation_bytes=activation_bytes(call, half),
    )


def _other_formulas(call: Call) -> list[str]:
    """Return formulas for the sides after transposed filters, upsampling, padding and cropping."""
    layer = call.layer
    if not isinstance(layer, TRANSPOSED + UPSAMPLING + PADDINGS + CROPPINGS) or layer.data_format == "channels_first":
        return []
    sides = list(zip(call.inputs[0][:-1], call.outputs[0][:-1], strict=True))
    if isinstance(layer, TRANSPOSED):
        found = []
        for (n, out), size, stride in zip(sides, layer.kernel_size, layer.strides, strict=True):
            plain = n is not None and (n - 1) * stride + size == out
            found.append(f"({n} - 1)*{stride} + {size} = {out}" if plain else f"{n}*{stride} = {out}")
        return found
    if isinstance(layer, UPSAMPLING):
        return [f"{n}*{factor} = {out}" for (n, out), factor in zip(sides, factors_of(layer), strict=True)]
    sign, borders = ("+", layer.padding) if isinstance(layer, PADDINGS) else ("-", layer.cropping)
    pairs = [borders] if len(sides) == 1 else borders
    return [f"{n} {sign} {a} {sign} {b} = {out}" for (n, out), (a, b) in zip(sides, pairs, strict=True)]


def _count(weights: Iterable[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)
