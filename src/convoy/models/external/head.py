"""The last step of a network that Convoy did not train: probabilities from whatever it returns."""

from typing import Any

import keras

from convoy.errors import ModelError
from convoy.models.external.facts import Head
from convoy.models.keras_file import LossActivation
from convoy.models.layers.blocks import KerasTensor
from convoy.models.rewiring import is_softmax

_SIGMOIDS = (keras.activations.sigmoid,)


def known_head(uri: str, network: keras.Model, given: Head | None, applied: LossActivation | None) -> Head | None:
    """Return what a network returns.

    Args:
        uri: URI of the model, for messages.
        network: A network with one output (None, K).
        given: What the user says; None leaves it to the network.
        applied: The activation that the loss it was compiled with applies to its output; None if it is not known.

    Returns:
        None if neither the user nor the network says it.

    Raises:
        ModelError: It does not fit the network.
    """
    count = network.output_shape[-1]
    seen = _seen(network) or ("logits" if applied else None)
    if given == "logits" and seen in ("softmax", "sigmoid"):
        raise ModelError(f"{uri} ends with a {seen} already ({last_layer(network)}); remove scoring.head logits")
    if seen == "logits" and given in (None, "logits") and applied == "sigmoid" and count > 1:
        raise ModelError(
            f"{uri} returns {count} values, each trained as a label of its own (its loss applies a sigmoid), and not"
            f" one of {count} classes; expected a network that ends with a softmax, logits of one label or one sigmoid"
        )
    given = given or seen
    if count < 2 and (given == "softmax" or (given == "logits" and applied == "softmax")):
        raise ModelError(f"{uri} returns one value, which cannot be a softmax; expected scoring.head sigmoid or logits")
    if given == "sigmoid" and count > 1:
        raise ModelError(
            f"{uri} returns {count} values of a sigmoid each, which are several labels and not one of {count} classes;"
            " expected a network that ends with a softmax, logits or one sigmoid"
        )
    return given


def _seen(network: keras.Model) -> Head | None:
    """Return the activation that the graph ends with; None if it ends with another operation."""
    last = _last_operation(network.outputs[0])
    activation = getattr(last, "activation", None)
    if (last is not None and is_softmax(last)) or type(last).__name__ == "Softmax":
        return "softmax"
    if activation in _SIGMOIDS or type(last).__name__ == "Sigmoid":
        return "sigmoid"
    return None


def _last_operation(tensor: KerasTensor) -> Any:
    """Return the operation that computes a tensor, inside of nested networks."""
    operation, _, index = tensor._keras_history
    if isinstance(operation, keras.Sequential) and operation._functional is not None:
        return _last_operation(operation._functional.outputs[index])
    if isinstance(operation, keras.Model) and getattr(operation, "outputs", None):
        return _last_operation(operation.outputs[index])
    reshapes = ("Identity", "Reshape", "Flatten", "Squeeze", "Cast")
    if type(operation).__name__ in reshapes or getattr(operation, "activation", None) is keras.activations.linear:
        node = operation._inbound_nodes[tensor._keras_history.node_index]
        if len(node.input_tensors) == 1 and type(operation).__name__ != "Dense" and not _weights(operation):
            return _last_operation(node.input_tensors[0])
    return operation


def _weights(operation: Any) -> bool:
    return bool(getattr(operation, "weights", []))


def last_layer(network: keras.Model) -> str:
    """Return the name and kind of the layer that computes the output, for messages."""
    operation = _last_operation(network.outputs[0])
    return f"layer {operation.name!r} ({type(operation).__name__})"


def class_count(network: keras.Model) -> int:
    """Return the number of classes: two for a network with one output."""
    return max(2, int(network.output_shape[-1]))


def probabilities(x: KerasTensor, head: Head) -> KerasTensor:
    """Return class probabilities (N, K) from what a network returns, with layers that load in safe mode.

    Args:
        x: The output (N, K), or (N, 1).
        head: What it is.
    """
    if head == "logits":
        name = "softmax" if x.shape[-1] > 1 else "sigmoid"
        x = keras.layers.Activation(name, dtype="float32", name="convoy_probabilities")(x)
    if x.shape[-1] > 1:
        return x
    other = keras.layers.Rescaling(-1.0, offset=1.0, dtype="float32", name="convoy_first_class")(x)
    return keras.layers.Concatenate(dtype="float32", name="convoy_classes")([other, x])
