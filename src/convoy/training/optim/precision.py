"""A network that computes in 16 bits and keeps its weights in 32."""

import inspect
from typing import Any

import keras

from convoy.config.training import Precision
from convoy.models.rewiring import is_softmax


def in_precision(model: keras.Model, precision: Precision) -> keras.Model:
    """Return the network with the layers' dtype policy set; the same one for ``float32``.

    Weights stay float32 (P. Micikevicius et al., "Mixed Precision Training", 2018, section 3.1) and are listed in the
    same order, so ``set_weights`` carries them to the float32 network. Two kinds of layers compute in float32 still:
    those that give the output, or probabilities, since 16 bits cannot tell small ones apart, and the normalisation of
    the pixels. No global policy is set: the process may go on to build other networks.
    """
    if precision == "float32":
        return model
    outputs = {id(tensor._keras_history.operation) for tensor in model.outputs}

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        computes = isinstance(layer, keras.layers.Layer) and not isinstance(
            layer, keras.layers.Normalization | keras.Model
        )
        if (
            computes and id(layer) not in outputs and not is_softmax(layer)
        ):  # what is no layer, but of keras.ops, follows its inputs
            config["dtype"] = precision
        return layer.__class__.from_config(config)

    # Without it, as in Keras 3.2, networks within the network stay as they are.
    known = inspect.signature(keras.models.clone_model).parameters
    recursive = {"recursive": True} if "recursive" in known else {}
    cloned = keras.models.clone_model(model, clone_function=clone, **recursive)
    cloned.set_weights(model.get_weights())
    return cloned
