"""Networks of ``keras.applications`` with another stem for small images, and the layer names of its weights files."""

import functools
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import keras

from convoy.config import ModelConfig
from convoy.models.layers.blocks import KerasTensor


def resnet50(x: KerasTensor, num_classes: int, config: ModelConfig) -> KerasTensor:
    """Apply ResNet with 50 layers: 25,636,712 parameters at 1,000 classes, counted by Keras with the moving statistics.

    K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", 2016, table 1;
    ``keras.applications.ResNet50``, whose convolutions have biases.

    ``small``: a first convolution of 3x3 at stride 1 instead of 7x7 at stride 2, and no pooling after it.
    """
    if config.variant == "paper":
        return keras.applications.ResNet50(weights=None, input_tensor=x, classes=num_classes).output
    stem = {"conv1_pad": {"padding": 1}, "conv1_conv": {"kernel_size": 3, "strides": 1}}
    changes = stem | {"predictions": {"units": num_classes}}
    return _rebuilt(keras.applications.ResNet50, x, changes, without={"pool1_pad", "pool1_pool"})


def inception_v3(x: KerasTensor, num_classes: int, config: ModelConfig) -> KerasTensor:
    """Apply Inception v3: 23,851,784 parameters at 1,000 classes, counted by Keras with the moving statistics.

    C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016, table 1;
    ``keras.applications.InceptionV3``, which has no auxiliary classifier.

    ``small``: the first convolution and the two poolings before the first Inception module have stride 1 instead of 2.
    All weights have the same shapes as in the paper.
    """
    changes: dict[str, dict[str, Any]] = {"predictions": {"units": num_classes}}
    if config.variant == "small":
        changes |= {name: {"strides": 1} for name in ("conv2d", "max_pooling2d", "max_pooling2d_1")}
    return _rebuilt(keras.applications.InceptionV3, x, changes)


def _rebuilt(
    application: Callable[..., keras.Model],
    x: KerasTensor,
    changes: Mapping[str, dict[str, Any]],
    without: Collection[str] = (),
) -> KerasTensor:
    """Apply the layers of an application to ``x``, with changed arguments for some of them, and ``without`` others."""
    made, name = {"": x}, ""
    for cls, options, sources in _layers(application):
        name = options["name"]
        inputs = [made[source] for source in sources]
        if name in without:
            made[name] = inputs[0]
        else:
            layer = cls.from_config(options | changes.get(name, {}))
            made[name] = layer(inputs if len(inputs) > 1 else inputs[0])
    return made[name]


@functools.cache
def _layers(application: Callable[..., keras.Model]) -> list[tuple[Any, dict[str, Any], list[str]]]:
    """Return (class, arguments, names of preceding layers) of each layer except the input, whose name is empty here."""
    first, *layers = application(weights=None, input_tensor=keras.Input((None, None, 3))).layers
    names = {layer.name: name for layer, name in zip(layers, _names_when_fresh(layers), strict=True)}
    producers = {id(first.output): "", **{id(layer.output): names[layer.name] for layer in layers}}
    return [
        (
            type(layer),
            layer.get_config() | {"name": names[layer.name]},
            [producers[id(tensor)] for tensor in keras.tree.flatten(layer.input)],
        )
        for layer in layers
    ]


def _names_when_fresh(layers: list[Any]) -> list[str]:
    """Return the layers' names as in a fresh process.

    Keras numbers the unnamed layers of ``InceptionV3`` throughout a process; the names here must not depend on that.
    """
    numbered = [re.fullmatch(_NUMBERED, layer.name) for layer in layers]
    first: dict[str, int] = {}
    for match in numbered:
        if match:
            kind, number = match[1], int(match[2] or 0)
            first[kind] = min(number, first.get(kind, number))
    names = []
    for layer, match in zip(layers, numbered, strict=True):
        if match:
            number = int(match[2] or 0) - first[match[1]]
            names.append(f"{match[1]}_{number}" if number else match[1])
        else:
            names.append(layer.name)
    return names


_NUMBERED = r"(conv2d|batch_normalization|activation|average_pooling2d|max_pooling2d|concatenate)(?:_(\d+))?"
