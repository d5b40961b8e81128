"""Name -> network."""

from collections.abc import Callable, Sequence

import keras

from convoy.errors import ModelError, did_you_mean
from convoy.models.blocks import KerasTensor, normalise
from convoy.models.classic import lenet5, mnist_cnn

ARCHITECTURES: dict[str, Callable[[KerasTensor, int], KerasTensor]] = {"lenet5": lenet5, "mnist_cnn": mnist_cnn}


def build(
    name: str, shape: Sequence[int], num_classes: int, pixel_mean: Sequence[float], pixel_std: Sequence[float]
) -> keras.Model:
    """Build an untrained network.

    Args:
        name: An architecture's name.
        shape: (H, W, C) of the images.
        num_classes: Number of classes.
        pixel_mean: Mean of each channel, 0 to 255; it becomes part of the network.
        pixel_std: Standard deviation of each channel, likewise.

    Returns:
        A model from raw uint8 images (N, H, W, C) to float32 class probabilities (N, num_classes).

    Raises:
        ModelError: No architecture of that name, or its layers do not fit the images.
    """
    if name not in ARCHITECTURES:
        raise ModelError(
            f"model.name {name!r} is unknown; expected one of {', '.join(ARCHITECTURES)}"
            f"{did_you_mean(name, ARCHITECTURES)}"
        )
    images = keras.Input(tuple(shape), dtype="uint8", name="image")
    try:
        output = ARCHITECTURES[name](normalise(images, list(pixel_mean), list(pixel_std)), num_classes)
    except ModelError as error:
        size = "x".join(map(str, shape))
        raise ModelError(
            f"{name} does not fit images of {size}: {error}; raise dataset.image.height and width, or choose another"
            " model.name"
        ) from None
    return keras.Model(images, output, name=name)
