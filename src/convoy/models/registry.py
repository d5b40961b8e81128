"""Name -> network."""

from collections.abc import Callable, Sequence

import keras

from convoy.config import ModelConfig
from convoy.errors import ModelError, did_you_mean
from convoy.models.blocks import KerasTensor, normalise
from convoy.models.classic import lenet5, mnist_cnn
from convoy.models.geometry import check_geometry, named_failures

ARCHITECTURES: dict[str, Callable[[KerasTensor, int, ModelConfig], KerasTensor]] = {
    "lenet5": lenet5,
    "mnist_cnn": mnist_cnn,
}


def build(
    config: ModelConfig,
    shape: Sequence[int],
    num_classes: int,
    pixel_mean: Sequence[float],
    pixel_std: Sequence[float],
    dtype: str = "uint8",
) -> keras.Model:
    """Build an untrained network.

    Args:
        config: Section ``model``.
        shape: Of the samples: (H, W, C) of images.
        num_classes: Number of classes.
        pixel_mean: Mean of each channel; it becomes part of the network.
        pixel_std: Standard deviation of each channel, likewise.
        dtype: Of the samples' values.

    Returns:
        A model from raw samples (N, *shape) of that dtype to float32 class probabilities (N, num_classes).

    Raises:
        ModelError: No architecture of that name, or it does not take samples of that shape.
    """
    name = config.name
    if name not in ARCHITECTURES:
        raise ModelError(
            f"model.name {name!r} is unknown; expected one of {', '.join(ARCHITECTURES)}"
            f"{did_you_mean(name, ARCHITECTURES)}"
        )
    if len(shape) != 3:  # which all architectures take so far
        raise ModelError(
            f"model {name} takes images (height, width, channels); the dataset's samples are {tuple(shape)}"
        )
    images = keras.Input(tuple(shape), dtype=dtype, name="image")
    try:
        with named_failures():
            output = ARCHITECTURES[name](normalise(images, list(pixel_mean), list(pixel_std)), num_classes, config)
    except ModelError as error:
        size = "x".join(map(str, shape))
        raise ModelError(
            f"{name} does not fit images of {size}: {error}; raise dataset.image.height and width, or choose another"
            " model.name"
        ) from None
    model = keras.Model(images, output, name=name)
    check_geometry(model, strict=False)
    return model
