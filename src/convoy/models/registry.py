"""Section ``model`` -> network."""

from collections.abc import Callable, Sequence

import keras

from convoy.config import ModelConfig
from convoy.errors import ModelError, did_you_mean
from convoy.models.blocks import KerasTensor, normalise
from convoy.models.classic import lenet5, mnist_cnn
from convoy.models.geometry import check_geometry, named_failures
from convoy.models.options import with_options
from convoy.models.own import from_function, from_layers
from convoy.models.rewiring import fresh_names

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
        ModelError: There is no such network, it does not take samples of that shape, or an option does not fit it.
    """
    own = config.layers is not None or ":" in config.name
    with fresh_names():
        image = keras.Input(tuple(shape), dtype=dtype, name="image")
        x = normalise(image, list(pixel_mean), list(pixel_std))
        # A function's path is no name of a network: it has a colon.
        model = keras.Model(image, _network(x, config, num_classes), name=config.name.rpartition(":")[2])
        check_geometry(model, strict=own and config.strict_geometry)
        return with_options(model, config, num_classes)


def _network(x: KerasTensor, config: ModelConfig, num_classes: int) -> KerasTensor:
    """Normalised samples -> class probabilities, as published or as the user has written it."""
    name, shape = config.name, tuple(x.shape[1:])
    size = "x".join(map(str, shape))
    if config.layers is not None:
        try:
            with named_failures():
                return from_layers(x, config.layers, num_classes)
        except ValueError as error:  # Keras', which does not say of which layer
            raise ModelError(f"model.layers does not fit samples of {size}: {str(error).splitlines()[0]}") from None
    if ":" in name:
        return from_function(x, name, num_classes)
    if name not in ARCHITECTURES:
        raise ModelError(
            f"model.name {name!r} is unknown; expected one of {', '.join(ARCHITECTURES)}"
            f"{did_you_mean(name, ARCHITECTURES)}"
        )
    if len(shape) != 3:  # which all architectures take so far
        raise ModelError(f"model {name} takes images (height, width, channels); the dataset's samples are {shape}")
    try:
        with named_failures():
            return ARCHITECTURES[name](x, num_classes, config)
    except ModelError as error:
        raise ModelError(
            f"{name} does not fit images of {size}: {error}; raise dataset.image.height and width, or choose another"
            " model.name"
        ) from None
