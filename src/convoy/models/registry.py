"""Name -> network."""

from collections.abc import Sequence

import keras

from convoy.config import ModelConfig
from convoy.errors import ModelError
from convoy.models.architectures import choose
from convoy.models.blocks import imagenet_preprocessing, normalise


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
        shape: Of the samples: (H, W, C) of images, (L, C) of signals, (D, H, W, C) of volumes.
        num_classes: Number of classes.
        pixel_mean: Mean of each channel; it becomes part of the network.
        pixel_std: Standard deviation of each channel, likewise.
        dtype: Of the samples' values.

    Returns:
        A model from raw samples (N, *shape) of that dtype to float32 class probabilities (N, num_classes); with
        ``auxiliary_heads`` (N, 3, num_classes), those of the main classifier first.

    Raises:
        ModelError: No architecture of that name, or it takes neither samples of that shape nor such options.
    """
    architecture, config = choose(config, shape)
    image = keras.Input(tuple(shape), dtype=dtype, name="image")
    try:
        if config.preprocessing == "imagenet" and architecture.imagenet:
            x = imagenet_preprocessing(image, architecture.imagenet)
        else:
            x = normalise(image, list(pixel_mean), list(pixel_std))
        output = architecture.function(x, num_classes, config)
    except ModelError as error:
        size = "x".join(map(str, shape))
        samples, larger = "samples", ""
        if len(shape) == 3:
            samples, larger = "images", "raise dataset.image.height and width, or "
        raise ModelError(
            f"{config.name} does not fit {samples} of {size}: {error}; {larger}choose another model.name"
        ) from None
    return keras.Model(image, output, name=config.name)
