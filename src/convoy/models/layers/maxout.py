"""Maxout. Importing this module registers the layer with Keras, so that networks with it can be loaded."""

from typing import Any

import keras

from convoy.models.layers.blocks import KerasTensor


@keras.saving.register_keras_serializable(package="convoy")
class Maxout(keras.layers.Layer):
    """The maximum over pieces: each output channel is the largest of ``pieces`` successive input channels.

    After a convolution or dense layer without activation, this yields a layer of maxout units: I. Goodfellow,
    D. Warde-Farley, M. Mirza, A. Courville, Y. Bengio, "Maxout Networks", ICML 2013, section 3. Successive channels
    form one unit, so that those of grouped and depthwise convolutions stay within their group.

    Input: (N, ..., pieces x C); output: (N, ..., C), of the same type.

    Args:
        pieces: Linear functions per unit; k in the paper.
        **options: ``name`` and other options of a Keras layer.
    """

    def __init__(self, pieces: int = 2, **options: Any) -> None:
        super().__init__(**options)
        if pieces < 1:
            raise ValueError(f"pieces is {pieces}; expected 1 or more")
        self.pieces = pieces

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Check that the number of channels is a multiple of the pieces."""
        channels = input_shape[-1]
        if channels is None or channels % self.pieces:
            raise ValueError(
                f"maxout of {self.pieces} pieces takes a multiple of {self.pieces} channels, not {channels}"
            )
        super().build(input_shape)

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Return the maxima."""
        # Strided slices keep the number of axes; TensorFlow's kernels are slower with an additional one.
        first, *others = (inputs[..., piece :: self.pieces] for piece in range(self.pieces))
        for other in others:
            first = keras.ops.maximum(first, other)
        return first

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the maxima."""
        assert input_shape[-1] is not None
        return (*input_shape[:-1], input_shape[-1] // self.pieces)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration that is saved."""
        return {**super().get_config(), "pieces": self.pieces}
