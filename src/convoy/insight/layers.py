"""Layers at work on a few samples: activations, weights, their gradients; and the evidence for a class (Grad-CAM)."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from convoy.models.activation_recorder import CONVOLUTIONS, leaf_layers, logits_noted, named, recorded, spread

_MOST_LAYERS = 30
_DRAWN = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
_TINY = 1e-12


@dataclass(frozen=True)
class Watched:
    """A convolution at work on a few samples.

    Attributes:
        activations: float32 (n, H, W, C), as the layer returns them.
        activation_gradients: The same shape: gradients of each sample's cross-entropy with respect to them.
        weights: float32 (h, w, C of the input, C), or (h, w, C, multiplier) for a depthwise layer.
        weight_gradients: The same shape: gradients of the samples' summed cross-entropy.
    """

    activations: np.ndarray
    activation_gradients: np.ndarray
    weights: np.ndarray
    weight_gradients: np.ndarray


def convolutions(model: keras.Model) -> dict[str, Any]:
    """Return two-dimensional convolutions by name, at most 30, evenly over the depth."""
    return named(spread([layer for layer in leaf_layers(model) if isinstance(layer, _DRAWN)], _MOST_LAYERS))


def watch(model: keras.Model, samples: np.ndarray, labels: np.ndarray) -> dict[str, Watched]:
    """Run a forward and a backward pass of a few samples, as in inference, and return the data of each convolution.

    After A. Karpathy's ConvNetJS, which shows the same for networks: https://cs.stanford.edu/people/karpathy/convnetjs/

    Args:
        model: Network from raw samples to probabilities.
        samples: (n, H, W, C).
        labels: int (n,) true classes.

    Returns:
        The data by the layer's name, in order.
    """
    layers = convolutions(model)
    with recorded(list(layers.values())) as outputs, tf.GradientTape() as tape:
        tape.watch([layer.kernel.value for layer in layers.values()])  # including frozen layers
        probabilities = tf.cast(model(tf.constant(samples), training=False), tf.float32)
        loss = tf.reduce_sum(keras.losses.sparse_categorical_crossentropy(labels, probabilities))
    layers = {name: layer for name, layer in layers.items() if id(layer) in outputs}
    kernels = [layer.kernel.value for layer in layers.values()]
    activations = [outputs[id(layer)] for layer in layers.values()]
    gradients = tape.gradient(loss, [activations, kernels], unconnected_gradients=tf.UnconnectedGradients.ZERO)
    found = zip(layers, activations, gradients[0], kernels, gradients[1], strict=True)
    return {name: Watched(*(np.asarray(value, np.float32) for value in rest)) for name, *rest in found}


def filters(model: keras.Model) -> tuple[str, np.ndarray] | None:
    """Return the first 2-D convolution's name and weights, float32 (h, w, C of the input, C), or None without one."""
    for name, layer in convolutions(model).items():
        return name, np.asarray(layer.kernel, np.float32)
    return None


def grad_cam(model: keras.Model, samples: np.ndarray, classes: np.ndarray) -> np.ndarray | None:
    """Return maps of the evidence for a class in each image.

    R. R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", 2017,
    equations 1 and 2: the activations A of the last convolution, weighted by the average gradient of the class's score
    before the softmax with respect to them, summed over channels; negative values become 0. A is taken after the layers
    that follow the convolution without a change of height and width (batch normalisation, ReLU, a sum with a shortcut).

    Args:
        model: Network from raw samples to probabilities.
        samples: (n, H, W, C).
        classes: int (n,): the class for each sample.

    Returns:
        float32 (n, h, w), the largest value of each sample 1 (or all 0, if there is no evidence for the class); None if
        no convolution has a height and a width.
    """
    layers = leaf_layers(model)
    with recorded(layers) as outputs, logits_noted(model) as noted, tf.GradientTape() as tape:
        # The tape follows tensors that depend on watched weights: watch frozen ones too.
        tape.watch([variable.value for variable in model.variables if variable.dtype.startswith("float")])
        probabilities = tf.cast(model(tf.constant(samples), training=False), tf.float32)
        scores = tf.cast(noted[-1], tf.float32) if noted else tf.math.log(probabilities + _TINY)
        chosen = tf.reduce_sum(tf.gather(scores, tf.constant(classes, tf.int32), axis=1, batch_dims=1))
    target = _last_maps([(layer, outputs[id(layer)]) for layer in _in_order(layers, outputs)])
    if target is None:
        return None
    gradient = tape.gradient(chosen, target, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    maps, slopes = np.asarray(target, np.float32), np.asarray(gradient, np.float32)
    heat = np.maximum(np.einsum("nhwc,nc->nhw", maps, slopes.mean(axis=(1, 2))), 0)
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), _TINY)


def _in_order(layers: list[Any], outputs: dict[int, Any]) -> list[Any]:
    by_id = {id(layer): layer for layer in layers}
    return [by_id[key] for key in outputs]


def _last_maps(called: list[tuple[Any, Any]]) -> Any:
    """Return the last output with the height and width of the last two-dimensional convolution, or None without one."""
    found = None
    for layer, output in called:
        if len(output.shape) != 4 or output.shape[1] * output.shape[2] == 1:
            continue
        if isinstance(layer, CONVOLUTIONS) or (found is not None and output.shape[1:3] == found.shape[1:3]):
            found = output
    return found
