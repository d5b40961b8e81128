"""A packaged model in this process: samples -> class probabilities. Knows nothing of Spark."""

import os
import tempfile
from collections.abc import Iterator

import numpy as np

from convoy.models.package import ModelPackage


class Predictor:
    """A loaded network.

    Batches have one fixed size, the last padded, so that the network is traced once.

    Args:
        package: The model.
        batch_size: Samples per call of the network.
    """

    def __init__(self, package: ModelPackage, batch_size: int) -> None:
        import keras
        import tensorflow as tf

        import convoy.models.custom_layers  # noqa: F401  (a network may have them)

        with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
            file = os.path.join(folder, "model.keras")
            with open(file, "wb") as out:
                out.write(package.keras_file)
            network = keras.saving.load_model(file, compile=False, safe_mode=True)
        self.batch_size = batch_size
        signature = tf.TensorSpec((batch_size, *package.spec.shape), package.spec.dtype)
        self._call = tf.function(lambda images: network(images, training=False), input_signature=[signature])

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Predict.

        Args:
            images: (N, H, W, C), or (N, ...), of the model's shape and dtype; any N.

        Returns:
            float32 (N, K) probabilities.
        """
        return np.concatenate(list(self._batches(images)))

    def _batches(self, images: np.ndarray) -> Iterator[np.ndarray]:
        for start in range(0, max(1, len(images)), self.batch_size):
            batch = images[start : start + self.batch_size]
            missing = self.batch_size - len(batch)
            if missing:
                batch = np.concatenate([batch, np.zeros((missing, *images.shape[1:]), images.dtype)])
            yield self._call(batch).numpy()[: self.batch_size - missing]
