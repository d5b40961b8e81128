"""A packaged model in this process: samples -> class probabilities. Independent of Spark."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from convoy.errors import ModelError
from convoy.models.keras_file import load
from convoy.models.lazy_import import import_tensorflow
from convoy.models.package import ModelPackage

_BATCH_BYTES, _GPU_BATCH_BYTES = 8 << 20, 64 << 20
"""Limit of the samples in one call of the network: more is not faster, and activations are many times larger."""


class Predictor:
    """A loaded network.

    It is traced once, for batches of any size. On a GPU, which selects kernels for each size, the last batch is padded.

    Args:
        package: The model.
        batch_size: Most samples per call of the network; fewer if samples are large.
        embeddings: Compute the embeddings too: the input of the last layer that has weights.
        half_precision: Compute in 16 bits: bfloat16 on a CPU, float16 on a GPU.

    Attributes:
        batch_size: Samples per call.

    Raises:
        ModelError: The network is unsafe, or does not return one probability per class.
    """

    def __init__(
        self, package: ModelPackage, batch_size: int, embeddings: bool = False, half_precision: bool = False
    ) -> None:
        tf = import_tensorflow()
        import keras

        on_gpu = bool(tf.config.get_visible_devices("GPU"))
        most = (_GPU_BATCH_BYTES if on_gpu else _BATCH_BYTES) // max(1, package.spec.nbytes)
        self.batch_size, self._pads = max(1, min(batch_size, most)), on_gpu
        network = load(package.keras_file, package.uri)
        classes = len(package.classes)
        if network.output_shape != (None, classes):
            raise ModelError(f"{package.uri} gives {network.output_shape}, expected {classes} probabilities per sample")
        if half_precision:
            from convoy.training.optim.precision import in_precision

            network = in_precision(network, "mixed_float16" if on_gpu else "mixed_bfloat16")
        self._classes, self._width = classes, 0
        if embeddings:
            embedding = keras.layers.Flatten(dtype="float32", name="convoy_embedding")(_last_input(network))
            self._width = int(embedding.shape[1])
            network = keras.Model(network.inputs, [network.outputs[0], embedding])

        def call(samples: Any) -> list[Any]:
            outputs = network(samples, training=False)
            return [tf.cast(output, tf.float32) for output in (outputs if embeddings else [outputs])]

        signature = tf.TensorSpec((None, *package.spec.shape), package.spec.dtype)
        self._tensor = tf.constant
        self._call = tf.function(call, input_signature=[signature]).get_concrete_function()

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return float32 (N, K) probabilities of samples (N, ...) of the model's shape and dtype; any N."""
        return self.predict_all(images)[0]

    def predict_all(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the probabilities and embeddings of samples.

        Args:
            images: (N, H, W, C), or (N, ...), of the model's shape and dtype; any N.

        Returns:
            float32 (N, K) probabilities, and float32 (N, D) embeddings, D = 0 if they were not requested.
        """
        answers = list(self._batches(images))
        if len(answers) == 1:
            return answers[0]
        none = (np.empty((0, self._classes), np.float32), np.empty((0, self._width), np.float32))
        probabilities, embeddings = zip(*answers or [none], strict=True)
        return np.concatenate(probabilities), np.concatenate(embeddings)

    def _batches(self, images: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            count = len(batch)
            if self._pads and count < self.batch_size:
                missing = np.zeros((self.batch_size - count, *images.shape[1:]), images.dtype)
                batch = np.concatenate([batch, missing])
            answers = [answer.numpy()[:count] for answer in self._call(self._tensor(batch))]
            yield answers[0], answers[1] if self._width else np.empty((count, 0), np.float32)


def most_probable(
    probabilities: np.ndarray, errors: Mapping[int, str]
) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Return the most probable class of each sample.

    Args:
        probabilities: float32 (N, K).
        errors: Row -> why it cannot be scored.

    Returns:
        int32 (N,) indices, float32 (N,) probabilities, and the errors with those of rows that are not finite.
    """
    count = len(probabilities)
    index = probabilities.argmax(axis=1).astype(np.int32) if count else np.empty(0, np.int32)
    best = probabilities[np.arange(count), index]
    reasons = dict(errors)
    # ``argmax`` returns the index of the first NaN if there is one, so ``best`` is NaN then.
    for row in np.flatnonzero(~np.isfinite(best)):
        reasons.setdefault(int(row), "not_finite: the network returns nan for it")
    return index, best, reasons


def _last_input(network: Any) -> Any:
    """Return the input of the last layer with weights, the classifier."""
    for layer in reversed(network.layers):
        if layer.weights:
            return layer.input
    raise ModelError("the network has no layer with weights, so it has no embeddings")
