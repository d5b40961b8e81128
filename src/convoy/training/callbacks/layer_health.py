"""Health metrics of layers, once per epoch: shares of dead units, and norms of gradients."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from convoy.dataset.reading.examples import Samples, read_samples
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest
from convoy.models.activation_recorder import has_kernel, has_relu, leaf_layers, named, recorded, spread
from convoy.training.events import Emit, LayerHealth, TrainingWarning

SAMPLES = 64
DEAD_SHARE = 0.4  # of a layer's units, above which a warning is emitted
_LAYERS = 30  # of each kind, at most


def first_samples(version_path: Location, manifest: Manifest, most: int) -> Samples:
    """Return the validation split's first samples; it is stored in order of hashes, so that they are a random sample.

    Args:
        version_path: Folder of the dataset version.
        manifest: Its manifest.
        most: Largest number of samples: more than those of a step might not fit into memory.
    """
    count = min(SAMPLES, most, manifest.split("validation").rows)
    return read_samples(version_path, manifest, "validation", np.arange(count))


class Health(keras.callbacks.Callback):
    """Emits ``LayerHealth`` after each epoch: shares of dead units and norms of gradients for a few fixed samples.

    * ``dead_units/<layer>``: of the units of a layer with ReLUs (a unit is a channel of a convolution, or a value of
      a dense layer), the share that is 0 for all samples, everywhere. Its weights get no gradient from any of them.
    * ``gradient_norm/<layer>``: the Euclidean norm of the gradient of the samples' mean cross-entropy by the layer's
      weights.

    The network runs in inference mode: without dropout, and with batch normalisation's moving statistics. It draws no
    random numbers and changes no weights, so it does not affect training. It runs on a single rank and does not
    communicate.

    Args:
        emit: Takes an event.
        samples: A few samples, the same in all epochs.
    """

    def __init__(self, emit: Emit, samples: Samples) -> None:
        super().__init__()
        self._emit, self._samples = emit, samples
        self._warned: set[str] = set()
        self._relus: dict[str, keras.layers.Layer] = {}
        self._kernels: dict[str, keras.layers.Layer] = {}
        self._compiled: Any = None
        self._failed = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Emit the metrics, and warn once about each layer with dead units."""
        if self._failed:
            return
        try:
            metrics = self._look()
        except Exception as error:  # e.g. of a custom network that cannot be inspected: training continues
            self._failed = True
            text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            self._emit(TrainingWarning(f"the layers cannot be inspected ({text})"))
            return
        self._emit(LayerHealth(epoch, metrics))
        for name in self._relus:
            share = metrics.get(f"dead_units/{name}", 0.0)
            if share > DEAD_SHARE and name not in self._warned:
                self._warned.add(name)
                text = (
                    f"{share:.0%} of the units of layer {name} are dead after epoch {epoch + 1}: 0 for all of"
                    f" {len(self._samples)} samples; lower training.optimizer.learning_rate, or try another activation"
                )
                self._emit(TrainingWarning(text))

    def _look(self) -> dict[str, float]:
        if self._compiled is None:
            layers = leaf_layers(self.model)
            self._relus = named(spread([layer for layer in layers if has_relu(layer)], _LAYERS))
            self._kernels = named(spread([layer for layer in layers if has_kernel(layer)], _LAYERS))
            self._compiled = tf.function(self._measure, autograph=False, jit_compile=False)
        found = self._compiled(tf.constant(self._samples.images), tf.constant(self._samples.labels))
        return {name: float(value) for name, value in found.items()}

    def _measure(self, images: Any, labels: Any) -> dict[str, Any]:
        metrics: dict[str, Any] = {}
        weights = {name: list(layer.trainable_variables) for name, layer in self._kernels.items()}
        with recorded(list(self._relus.values())) as outputs, tf.GradientTape() as tape:
            probabilities = tf.nest.flatten(self.model(images, training=False))[0]
            losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
            loss = tf.reduce_mean(tf.cast(losses, tf.float32))
        for name, layer in self._relus.items():
            if id(layer) in outputs:
                output = outputs[id(layer)]
                silent = tf.reduce_all(output <= 0, axis=list(range(len(output.shape) - 1)))
                metrics[f"dead_units/{name}"] = tf.reduce_mean(tf.cast(silent, tf.float32))
        gradients = tape.gradient(loss, [[variable.value for variable in own] for own in weights.values()])
        for name, own in zip(weights, gradients, strict=True):
            parts = [tf.cast(tf.convert_to_tensor(part), tf.float32) for part in own if part is not None]
            if parts:
                metrics[f"gradient_norm/{name}"] = tf.linalg.global_norm(parts)
        return metrics
