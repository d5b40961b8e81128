"""Networks as graphs of layers: who feeds whom, and the same graph once more with other layers."""

import collections
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import keras
from keras.src.backend.common import global_state

from convoy.models.layers.blocks import KerasTensor, known_layers

Operation: TypeAlias = Any
"""A layer, or one of ``keras.ops`` (``keras.Operation``)."""

KERNELS = (
    *(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D),
    *(keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose),
    *(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D),
    *(keras.layers.SeparableConv1D, keras.layers.SeparableConv2D),
    keras.layers.Dense,
)
"""Convolutions and dense layers."""

NORMS = tuple(
    known_layers(
        *("BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization", "UnitNormalization")
    ).values()
)
_ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
    keras.layers.PReLU,
)
# Those of keras.ops and keras.activations, when a function of the user calls them on a tensor.
_ACTIVATION_OPERATIONS = frozenset(
    {"ReLU", "Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu", "Silu", "Tanh", "Sigmoid", "Softplus"}
    | {"Softsign", "HardSigmoid", "HardSilu", "Mish"}
)


class Graph:
    """What a functional network computes, in order.

    Args:
        model: A functional network whose operations have different names.

    Attributes:
        operations: In an order in which each comes after those that feed it.
        producers: Name of an operation -> the operations that feed it.
        consumers: Name of an operation -> the operations that it feeds.
        classifiers: Names of the layers with weights that the outputs come from.
        tail: Their names and those of what follows them.
    """

    def __init__(self, model: keras.Model) -> None:
        self.operations: list[Operation] = list(model.operations)
        self.producers: dict[str, list[Operation]] = {operation.name: [] for operation in self.operations}
        self.consumers: dict[str, list[Operation]] = {operation.name: [] for operation in self.operations}
        self.classifiers: set[str] = set()
        self.tail: set[str] = set()
        seen: set[tuple[int, int]] = set()
        waiting = list(model.outputs)
        while waiting:
            operation, index, _ = waiting.pop()._keras_history
            if (id(operation), index) in seen:
                continue
            seen.add((id(operation), index))
            tensors = operation._inbound_nodes[index].input_tensors
            for tensor in tensors:
                producer = tensor._keras_history.operation
                self.producers[operation.name].append(producer)
                self.consumers[producer.name].append(operation)
            waiting += tensors
        for output in model.outputs:
            self._add_tail(output._keras_history.operation)

    def _add_tail(self, operation: Operation) -> None:
        if operation.name in self.tail:
            return
        self.tail.add(operation.name)
        if has_weights(operation):
            self.classifiers.add(operation.name)
            return
        for producer in self.producers[operation.name]:
            self._add_tail(producer)


def has_weights(operation: Operation) -> bool:
    """Whether it is a layer that computes with weights: no normalisation, nor an activation with a slope."""
    no_layer = not isinstance(operation, keras.layers.Layer)
    if no_layer or isinstance(operation, (*NORMS, keras.layers.Normalization, keras.layers.PReLU)):
        return False
    return bool(operation.weights)


def is_activation(operation: Operation) -> bool:
    """Whether it is nothing but an activation: a softmax and a linear one do not count."""
    if isinstance(operation, keras.layers.Activation):
        return operation.activation not in (keras.activations.softmax, keras.activations.linear)
    if isinstance(operation, keras.layers.Layer):
        return isinstance(operation, _ACTIVATIONS)
    return type(operation).__name__ in _ACTIVATION_OPERATIONS


def is_softmax(operation: Operation) -> bool:
    """Whether it is a layer whose last step is a softmax."""
    if isinstance(operation, keras.layers.Softmax):
        return operation.axis in (-1, 1)
    return getattr(operation, "activation", None) is keras.activations.softmax


def replay(
    model: keras.Model,
    inputs: KerasTensor,
    copy: Callable[[Operation], Operation],
    call: Callable[..., KerasTensor] | None = None,
) -> KerasTensor:
    """Apply to other inputs what the network computes, with copies of its operations.

    ``keras.models.clone_model`` does the same, but gives a network of its own instead of a part of another.

    Args:
        model: A functional network.
        inputs: Instead of its own.
        copy: Makes a copy of an operation; called once for each.
        call: Applies a copy to its arguments, in its own way.

    Returns:
        The outputs.
    """
    copies: dict[int, Operation] = {}

    def once(operation: Operation) -> Operation:
        if id(operation) not in copies:
            copies[id(operation)] = copy(operation)
        return copies[id(operation)]

    # Not by its argument call_fn, which Keras 3.2 lacks.
    return model._run_through_graph(
        inputs, lambda operation: functools.partial(call, once(operation)) if call else once(operation)
    )


@contextmanager
def fresh_names() -> Iterator[None]:
    """Let Keras count from the start the names that it gives to layers, as in a new process.

    So a network's layers are called the same whatever the process has built before, on every rank.
    """
    counts = global_state.get_global_attribute("object_name_uids")
    global_state.set_global_attribute("object_name_uids", collections.defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute("object_name_uids", counts)
