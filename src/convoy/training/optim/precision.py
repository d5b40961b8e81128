"""Mixed precision: networks that compute in 16 bits and keep their weights in 32."""

import inspect
from typing import Any

import keras

from convoy.config.training import Precision
from convoy.models.rewiring import finalize_normalisation, is_softmax


def in_precision(model: keras.Model, precision: Precision) -> keras.Model:
    """Return the network with the layers' dtype policy set; the same network for ``float32``.

    Weights stay float32 (P. Micikevicius et al., "Mixed Precision Training", 2018, section 3.1) and are listed in the
    same order, so ``set_weights`` copies them to the float32 network. Two kinds of layers still compute in float32:
    those that return the output or probabilities, since 16 bits cannot distinguish small ones, and those that normalise
    or rescale the samples. No global policy is set: the process may later build other networks.
    """
    if precision == "float32":
        return model
    outputs = {id(tensor._keras_history.operation) for tensor in model.outputs}

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        computes = isinstance(layer, keras.layers.Layer) and not isinstance(
            layer, keras.layers.Normalization | keras.layers.Rescaling | keras.Model
        )
        if (
            computes and id(layer) not in outputs and not is_softmax(layer)
        ):  # operations of keras.ops are not layers; they use the dtype of their inputs
            config["dtype"] = precision
        return layer.__class__.from_config(config)

    # Without this argument, as in Keras 3.2, nested networks are not changed.
    known = inspect.signature(keras.models.clone_model).parameters
    recursive = {"recursive": True} if "recursive" in known else {}
    cloned = keras.models.clone_model(model, clone_function=clone, **recursive)
    cloned.set_weights(model.get_weights())
    finalize_normalisation(cloned._flatten_layers())
    return cloned
