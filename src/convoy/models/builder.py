"""Construction of the network that section ``model`` describes."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras

from convoy.config import ModelConfig
from convoy.errors import ModelError
from convoy.models.architectures.table import Architecture, check_imagenet, choose
from convoy.models.custom_network import called_function, from_function, from_layers, scale_of_layers
from convoy.models.input_scale import InputScale, input_scale
from convoy.models.layers.blocks import KerasTensor, imagenet_preprocessing, normalise
from convoy.models.rewiring import fresh_names
from convoy.models.rewrite import with_options
from convoy.models.summary.shape_checks import check_geometry, named_failures


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
        shape: Shape of a sample: (H, W, C) for images, (L, C) for signals, (D, H, W, C) for volumes.
        num_classes: Number of classes.
        pixel_mean: Mean of each channel; it becomes part of the network.
        pixel_std: Standard deviation of each channel; it becomes part of the network too.
        dtype: Type of the samples' values.

    Returns:
        A model from raw samples (N, *shape) of that dtype to float32 class probabilities (N, num_classes); with
        ``auxiliary_heads`` (N, 3, num_classes), those of the main classifier first.

    Raises:
        ModelError: There is no such network, it does not take samples of that shape, or an option does not fit it.
    """
    architecture = None
    if config.layers is None and ":" not in config.name:
        architecture, config = choose(config, shape)
    with fresh_names():
        image = keras.Input(tuple(shape), dtype=dtype, name="image")
        own = custom_network(config, shape, num_classes) if architecture is None else None
        if config.preprocessing == "none" or (own and config.preprocessing == "auto" and own.scale.is_normalised):
            x = keras.layers.Rescaling(1.0, name="rescale")(image)  # only converts to floating point
        elif architecture is not None and architecture.imagenet and config.preprocessing == "imagenet":
            x = imagenet_preprocessing(image, architecture.imagenet)
        else:
            x = normalise(image, list(pixel_mean), list(pixel_std))
        output = own.apply(x) if own else _known(x, architecture, config, num_classes)
        # A function's path cannot be the name of a network: it has a colon.
        model = keras.Model(image, output, name=config.name.rpartition(":")[2])
        check_geometry(model, strict=architecture is None and config.strict_geometry)
        return with_options(model, config, num_classes)


def _known(x: KerasTensor, architecture: Architecture | None, config: ModelConfig, num_classes: int) -> KerasTensor:
    """Return the class probabilities of a published architecture for normalised samples."""
    assert architecture is not None
    try:
        with named_failures():
            return architecture.function(x, num_classes, config)
    except ModelError as error:
        size, samples, larger = _size(x), "samples", ""
        if len(x.shape) == 4:
            samples, larger = "images", "raise dataset.image.height and width, or "
        raise ModelError(
            f"{config.name} does not fit {samples} of {size}: {error}; {larger}choose another model.name"
        ) from None


@dataclass(frozen=True)
class CustomNetwork:
    """A network of the user, before it is connected to an input.

    Attributes:
        scale: What its first layers do to the scale of the samples.
        apply: Takes samples, returns the class probabilities.
    """

    scale: InputScale
    apply: Callable[[KerasTensor], KerasTensor]


def custom_network(config: ModelConfig, shape: Sequence[int], num_classes: int) -> CustomNetwork:
    """Return the network of ``model.layers``, or of the function that ``model.name`` names, which is called.

    Raises:
        ModelError: As ``build``.
    """
    if config.preprocessing == "imagenet":
        check_imagenet(config.name, shape)
    if config.layers is None:
        model = called_function(config.name, tuple(shape), num_classes)
        return CustomNetwork(input_scale(model), functools.partial(from_function, model, name=config.name))
    layers = config.layers

    def apply(x: KerasTensor) -> KerasTensor:
        try:
            with named_failures():
                return from_layers(x, layers, num_classes)
        except ValueError as error:  # raised by Keras, without the layer's name
            raise ModelError(f"model.layers does not fit samples of {_size(x)}: {_line(error)}") from None

    return CustomNetwork(scale_of_layers(layers), apply)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _size(x: KerasTensor) -> str:
    return "x".join(map(str, x.shape[1:]))
