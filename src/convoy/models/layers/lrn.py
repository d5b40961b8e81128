"""Local response normalisation, which Keras does not have."""

from typing import Any

import keras

from convoy.models.layers.blocks import KerasTensor


@keras.saving.register_keras_serializable("convoy")
class LocalResponseNormalization(keras.layers.Layer):
    """Divides each value by a power of the sum of squares in the neighbouring channels; has no weights.

    b_i = a_i / (2 + 1e-4 x sum of a_j squared over the 5 channels around i)^0.75, with the constants of A. Krizhevsky,
    I. Sutskever, G. Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012, section 3.3.
    Input and output: (N, H, W, C); computed in float32, since squares exceed float16's range.
    """

    bias, alpha, beta, radius = 2.0, 1e-4, 0.75, 2

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Return the normalised values."""
        x = keras.ops.cast(inputs, "float32")
        channels = x.shape[-1]
        squares = keras.ops.pad(keras.ops.square(x), [(0, 0)] * (len(x.shape) - 1) + [(self.radius, self.radius)])
        around = sum(squares[..., i : i + channels] for i in range(2 * self.radius + 1))
        return keras.ops.cast(x * (self.bias + self.alpha * around) ** -self.beta, inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the same shape."""
        return input_shape
