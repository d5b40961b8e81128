"""Options of every network: rewriting of a published or custom network with other parts.

The network is built first and then rewritten layer by layer, so that architectures do not depend on options. Layers
keep their names; an inserted layer is named after the layer that it belongs to (``conv1_norm``, ``conv1_activation``,
``output_dropout``). Weights are kept wherever their shapes are unchanged.
"""

from dataclasses import dataclass, field
from typing import Any

import keras

from convoy.config import ModelConfig
from convoy.errors import ModelError, did_you_mean
from convoy.models.custom_network import identifiers
from convoy.models.layers.blocks import KerasTensor
from convoy.models.layers.maxout import Maxout
from convoy.models.rewiring import (
    KERNELS,
    NORMS,
    Graph,
    Operation,
    finalize_normalisation,
    has_weights,
    is_activation,
    replay,
)

_DROPOUTS = (
    keras.layers.Dropout,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)
_POOLS = {
    1: keras.layers.GlobalAveragePooling1D,
    2: keras.layers.GlobalAveragePooling2D,
    3: keras.layers.GlobalAveragePooling3D,
}
_PIECES = 2  # of maxout


def with_options(model: keras.Model, config: ModelConfig, num_classes: int) -> keras.Model:
    """Return the network with the options of section ``model``; the same object if there are none.

    Args:
        model: A functional network from samples to class probabilities.
        config: ``head``, ``activation``, ``dropout``, ``batch_norm``, ``initialiser`` and ``l2``.
        num_classes: Number of classes, for a new head.

    Raises:
        ModelError: An option does not fit the network; the message names the layer.
    """
    if config.head == "softmax":
        model = _with_softmax_head(model, num_classes)
    initialiser = _checked_initialiser(config.initialiser)
    if config.l2 or any(o is not None for o in (config.activation, config.dropout, config.batch_norm, initialiser)):
        return _rewritten(model, _Plan(Graph(model), config))
    return model


def _with_softmax_head(model: keras.Model, num_classes: int) -> keras.Model:
    """Replace the layers after the last one with spatial axes by global average pooling and one softmax layer."""
    graph = Graph(model)
    places = len(model.inputs[0].shape) - 2
    weights, last = False, None
    for operation in graph.operations:
        weights = weights or has_weights(operation)
        shapes = [tensor.shape for tensor in operation._inbound_nodes[0].output_tensors]
        if weights and operation.name not in graph.tail and [len(shape) for shape in shapes] == [places + 2]:
            last = operation
    if last is None or places not in _POOLS:
        raise ModelError(
            f"model.head is 'softmax', but {model.name} has no layer whose output has spatial axes to average over;"
            " remove model.head, or choose a network with convolutions"
        )
    x = _POOLS[places](name="global_average")(last.output)
    output = keras.layers.Dense(num_classes, activation="softmax", name="output")(x)
    return keras.Model(model.inputs[0], output, name=model.name)


@dataclass
class _Change:
    """The change of one operation."""

    arguments: dict[str, Any] = field(default_factory=dict)  # that replace those of the layer's configuration
    instead: keras.layers.Layer | None = None
    removed: bool = False
    before: list[keras.layers.Layer] = field(default_factory=list)
    after: list[keras.layers.Layer] = field(default_factory=list)


class _Plan:
    """The changes of a network's operations, by name."""

    def __init__(self, graph: Graph, config: ModelConfig) -> None:
        self.graph, self.config = graph, config
        self.changes: dict[str, _Change] = {operation.name: _Change() for operation in graph.operations}
        # First, since the other methods check the layers inserted after a layer.
        if config.batch_norm is not None:
            self._set_batch_norm(config.batch_norm)
        if config.activation is not None:
            self._set_activation(config.activation)
        if config.dropout is not None:
            self._set_dropout(config.dropout)
        self._set_weights()

    def _hidden(self) -> list[keras.layers.Layer]:
        """Return convolutions and dense layers, except for the classifiers."""
        return [o for o in self.graph.operations if isinstance(o, KERNELS) and o.name not in self.graph.tail]

    def _set_batch_norm(self, wanted: bool) -> None:
        if wanted:
            for layer in self._hidden():
                own = _has_activation(layer)
                if own or any(self._reaches_activation(consumer) for consumer in self.graph.consumers[layer.name]):
                    change = self.changes[layer.name]
                    change.after.append(keras.layers.BatchNormalization(name=f"{layer.name}_norm"))
                    if own:
                        activation = layer.get_config()["activation"]
                        change.arguments["activation"] = "linear"
                        change.after.append(keras.layers.Activation(activation, name=f"{layer.name}_activation"))
            return
        for operation in self.graph.operations:
            if isinstance(operation, keras.layers.BatchNormalization):
                self.changes[operation.name].removed = True
                (producer,) = self.graph.producers[operation.name]
                if isinstance(producer, KERNELS) and operation.center:
                    self.changes[producer.name].arguments["use_bias"] = True  # in place of the normalisation's

    def _reaches_activation(self, operation: Operation) -> bool:
        """Return whether this is an activation, or one follows without weights or a normalisation in between."""
        if is_activation(operation):
            return True
        if has_weights(operation) or isinstance(operation, NORMS) or operation.name in self.graph.tail:
            return False
        return any(self._reaches_activation(consumer) for consumer in self.graph.consumers[operation.name])

    def _set_activation(self, activation: str) -> None:
        for layer in self._hidden():
            change = self.changes[layer.name]
            if change.after and isinstance(change.after[-1], keras.layers.Activation):
                change.after[-1] = _activation(activation, f"{layer.name}_activation")
            elif not _has_activation(layer):
                continue
            elif activation == "maxout":
                change.arguments["activation"] = "linear"
                change.after.append(_activation(activation, f"{layer.name}_activation"))
            else:
                change.arguments["activation"] = activation
                continue
            if activation == "maxout":
                self._widen(layer)
        for operation in self.graph.operations:
            if is_activation(operation) and operation.name not in self.graph.tail:
                if activation == "maxout":
                    self._widen(self._source_of(operation))
                self.changes[operation.name].instead = _activation(activation, operation.name)

    def _widen(self, layer: keras.layers.Layer) -> None:
        """Widen a layer so that it computes all pieces of its maxout units."""
        config = layer.get_config()
        size = next(name for name in ("filters", "units", "depth_multiplier") if name in config)
        self.changes[layer.name].arguments[size] = config[size] * _PIECES

    def _source_of(self, operation: Operation) -> keras.layers.Layer:
        """Return the convolution or dense layer whose output only this activation takes."""
        source = operation
        while True:
            producers = self.graph.producers[source.name]
            source = producers[0]
            if len(producers) > 1 or len(self.graph.consumers[source.name]) > 1:
                break
            if isinstance(source, KERNELS) and not _has_activation(source):
                return source
            if not isinstance(source, (keras.layers.BatchNormalization, *_DROPOUTS)):
                break
        raise ModelError(
            f"model.activation is 'maxout', but layer {operation.name!r} is not the only consumer of a convolution or"
            f" dense layer (it follows {source.name!r}), over whose pieces it could take the maximum; choose another"
            " activation or network"
        )

    def _set_dropout(self, rate: float) -> None:
        own = [operation for operation in self.graph.operations if isinstance(operation, _DROPOUTS)]
        for operation in own:
            self.changes[operation.name].arguments["rate"] = rate
        if not own and rate:
            for name in self.graph.classifiers:
                self.changes[name].before.append(keras.layers.Dropout(rate, name=f"{name}_dropout"))

    def _set_weights(self) -> None:
        """Set the initialisers of hidden layers, and the penalties of all layers."""
        hidden = {layer.name for layer in self._hidden()}
        for layer in self.graph.operations:
            if isinstance(layer, KERNELS):
                change = self.changes[layer.name]
                kernels = [
                    part for part in ("kernel", "depthwise", "pointwise") if f"{part}_initializer" in _config(layer)
                ]
                for part in kernels:
                    if self.config.initialiser is not None and layer.name in hidden:
                        change.arguments[f"{part}_initializer"] = self.config.initialiser
                    if self.config.l2:
                        change.arguments[f"{part}_regularizer"] = keras.regularizers.L2(self.config.l2)


def _rewritten(model: keras.Model, plan: _Plan) -> keras.Model:
    changes, originals = plan.changes, {operation.name: operation for operation in plan.graph.operations}

    def copy(operation: Operation) -> Operation:
        change = changes[operation.name]
        return change.instead or operation.__class__.from_config({**_config(operation), **change.arguments})

    def call(operation: Operation, *arguments: Any, **options: Any) -> KerasTensor:
        change = changes[operation.name]
        if change.removed:
            return arguments[0]
        first, *others = arguments
        for layer in change.before:
            first = layer(first)
        x = operation(first, *others, **options)
        for layer in change.after:
            x = layer(x)
        return x

    given = model.inputs[0]
    image = keras.Input(batch_shape=given.shape, dtype=given.dtype, name=given.name)
    (output,) = keras.tree.flatten(replay(model, image, copy, call))
    rewritten = keras.Model(image, output, name=model.name)
    for layer in rewritten.layers:
        original, change = originals.get(layer.name), changes.get(layer.name)
        if original is not None and change is not None and change.instead is None:
            _keep_weights(original, layer, change)
    finalize_normalisation(rewritten.layers)
    return rewritten


def _keep_weights(original: keras.layers.Layer, layer: keras.layers.Layer, change: _Change) -> None:
    """Copy the original's weights of the same shape to a layer, except for those with a new initialiser."""
    shapes = [[weight.shape for weight in each.weights] for each in (original, layer)]
    if not change.arguments and shapes[0] == shapes[1]:
        layer.set_weights(original.get_weights())  # also those of nested layers, whose weights share names
        return
    before = {weight.name: weight for weight in original.weights}
    for weight in layer.weights:
        same = weight.name in before and before[weight.name].shape == weight.shape
        if same and f"{weight.name}_initializer" not in change.arguments:
            weight.assign(before[weight.name])


def _config(layer: Operation) -> dict[str, Any]:
    config: dict[str, Any] = layer.get_config()
    return config


def _has_activation(layer: keras.layers.Layer) -> bool:
    return layer.activation not in (keras.activations.linear, keras.activations.softmax)


def _activation(name: str, layer: str) -> keras.layers.Layer:
    return Maxout(_PIECES, name=layer) if name == "maxout" else keras.layers.Activation(name, name=layer)


def _checked_initialiser(name: str | None) -> str | None:
    known = identifiers(keras.initializers)
    if name is not None and name not in known:
        raise ModelError(
            f"model.initialiser {name!r} is unknown; expected a Keras initialiser, e.g. he_normal or glorot_uniform"
            f"{did_you_mean(name, known)}"
        )
    return name
