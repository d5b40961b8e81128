"""VGG: convolutions of 3x3 in five blocks.

K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015, table 1. The
convolutions of VGG16 and VGG19 are from ``keras.applications``; layers have its names, so that its weights load.

``small`` has the same convolutions, one dense layer of 512 units instead of two of 4,096, and rounds halved sides up,
so that it accepts images of any size: S. Liu, W. Deng, "Very Deep Convolutional Neural Network Based Image
Classification Using Small Training Sample Size", 2015.
"""

import keras

from convoy.config import ModelConfig
from convoy.models.layers.blocks import KerasTensor, conv2d, pool2d, softmax

_FILTERS = (64, 128, 256, 512, 512)


def vgg11(x: KerasTensor, num_classes: int, config: ModelConfig) -> KerasTensor:
    """Apply VGG with 11 layers (configuration A): 132,863,336 parameters at 224x224x3 and 1,000 classes."""
    return _head(_blocks(x, (1, 1, 2, 2, 2), config), num_classes, config, "output")


def vgg16(x: KerasTensor, num_classes: int, config: ModelConfig) -> KerasTensor:
    """Apply VGG with 16 layers (configuration D): 138,357,544 parameters at 224x224x3 and 1,000 classes."""
    if config.variant == "small":
        x = _blocks(x, (2, 2, 3, 3, 3), config)
    else:
        x = keras.applications.VGG16(include_top=False, weights=None, input_tensor=x).output
    return _head(x, num_classes, config, "predictions")


def vgg19(x: KerasTensor, num_classes: int, config: ModelConfig) -> KerasTensor:
    """Apply VGG with 19 layers (configuration E): 143,667,240 parameters at 224x224x3 and 1,000 classes."""
    if config.variant == "small":
        x = _blocks(x, (2, 2, 4, 4, 4), config)
    else:
        x = keras.applications.VGG19(include_top=False, weights=None, input_tensor=x).output
    return _head(x, num_classes, config, "predictions")


def _blocks(x: KerasTensor, convolutions: tuple[int, ...], config: ModelConfig) -> KerasTensor:
    padding = "same" if config.variant == "small" else "valid"
    for block, (count, filters) in enumerate(zip(convolutions, _FILTERS, strict=True), 1):
        for i in range(1, count + 1):
            x = conv2d(x, filters, 3, padding="same", activation="relu", name=f"block{block}_conv{i}")
        x = pool2d(x, 2, kind="max", padding=padding, name=f"block{block}_pool")
    return x


def _head(x: KerasTensor, num_classes: int, config: ModelConfig, name: str) -> KerasTensor:
    # The paper has dropout of 0.5 after the dense layers; keras.applications omits it.
    x = keras.layers.Flatten(name="flatten")(x)
    for i, units in enumerate([512] if config.variant == "small" else [4096, 4096], 1):
        x = keras.layers.Dense(units, activation="relu", name=f"fc{i}")(x)
        x = keras.layers.Dropout(0.5, name=f"dropout{i}")(x)
    return softmax(x, num_classes, name=name)
