"""Networks as graphs of layers: their producers and consumers, and copies of a graph with other layers."""

import collections
import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

import keras
from keras.src.backend.common import global_state

from convoy.models.layers.blocks import KerasTensor, known_layers

Operation: TypeAlias = Any
"""A layer, or an operation of ``keras.ops`` (``keras.Operation``)."""

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
# Operations of keras.ops and keras.activations that a user's function may call on a tensor.
_ACTIVATION_OPERATIONS = frozenset(
    {"ReLU", "Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu", "Silu", "Tanh", "Sigmoid", "Softplus"}
    | {"Softsign", "HardSigmoid", "HardSilu", "Mish"}
)


class Graph:
    """The operations of a functional network, in order.

    Args:
        model: A functional network whose operations have different names.

    Attributes:
        operations: The operations, each after its producers.
        producers: Name of an operation -> the operations whose outputs it takes.
        consumers: Name of an operation -> the operations that take its output.
        classifiers: Names of the last layers with weights before the outputs.
        tail: Their names and those of the operations after them.
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
    """Return whether it is a layer with weights, other than a normalisation or an activation with a slope."""
    no_layer = not isinstance(operation, keras.layers.Layer)
    if no_layer or isinstance(operation, (*NORMS, keras.layers.Normalization, keras.layers.PReLU)):
        return False
    return bool(operation.weights)


def is_activation(operation: Operation) -> bool:
    """Return whether it is only an activation, other than a softmax or a linear one."""
    if isinstance(operation, keras.layers.Activation):
        return operation.activation not in (keras.activations.softmax, keras.activations.linear)
    if isinstance(operation, keras.layers.Layer):
        return isinstance(operation, _ACTIVATIONS)
    return type(operation).__name__ in _ACTIVATION_OPERATIONS


def is_softmax(operation: Operation) -> bool:
    """Return whether it is a layer whose last step is a softmax."""
    if isinstance(operation, keras.layers.Softmax):
        return operation.axis in (-1, 1)
    return getattr(operation, "activation", None) is keras.activations.softmax


def replay(
    model: keras.Model,
    inputs: KerasTensor,
    copy: Callable[[Operation], Operation],
    call: Callable[..., KerasTensor] | None = None,
) -> KerasTensor:
    """Apply copies of the network's operations to other inputs.

    ``keras.models.clone_model`` does the same, but returns a separate network instead of a part of another.

    Args:
        model: A functional network.
        inputs: The new inputs.
        copy: Returns a copy of an operation; called once for each.
        call: Applies a copy to its arguments; None calls the copy.

    Returns:
        The outputs.
    """
    copies: dict[int, Operation] = {}

    def once(operation: Operation) -> Operation:
        if id(operation) not in copies:
            copies[id(operation)] = copy(operation)
        return copies[id(operation)]

    # Not with its argument call_fn, which Keras 3.2 does not have.
    return model._run_through_graph(
        inputs, lambda operation: functools.partial(call, once(operation)) if call else once(operation)
    )


def finalize_normalisation(layers: Iterable[Operation]) -> None:
    """Apply the mean and variance of adapted ``Normalization`` layers: Keras does so only when it loads a file.

    Without this, a copy whose weights were set would not normalise at all.
    """
    for layer in layers:
        if isinstance(layer, keras.layers.Normalization) and layer.input_mean is None and layer.built:
            with suppress(Exception):  # its weights have no values: the network is built for inspection
                layer.finalize_state()


@contextmanager
def fresh_names() -> Iterator[None]:
    """Reset Keras' counters of automatic layer names within the block, as in a new process.

    A network's layers then have the same names on every rank, regardless of networks built before.
    """
    counts = global_state.get_global_attribute("object_name_uids")
    global_state.set_global_attribute("object_name_uids", collections.defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute("object_name_uids", counts)
