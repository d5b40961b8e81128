"""AlexNet."""

import keras

from convoy.config import ModelConfig
from convoy.models.layers.blocks import KerasTensor, conv2d, pool2d, softmax
from convoy.models.layers.lrn import LocalResponseNormalization


def alexnet(x: KerasTensor, num_classes: int, config: ModelConfig) -> KerasTensor:
    """Apply AlexNet: 62,378,344 parameters at 227x227x3 and 1,000 classes; 60,965,224 with ``grouped``.

    A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012.
    ``grouped`` is the paper's network: each filter of the second, fourth and fifth convolution uses one half of the
    channels, since the authors used two GPUs. (The paper says 224x224; its 55x55 outputs require 227x227.) Initial
    weights are Keras' defaults.

    ``small``: the first convolution has 3x3 filters at stride 1 instead of 11x11 at stride 4, and the dense layers have
    1,024 units instead of 4,096; the rest is as in the paper.
    """
    small, groups = config.variant == "small", 2 if config.grouped else 1
    if small:
        x = conv2d(x, 96, 3, padding="same", activation="relu", name="conv1")
    else:
        x = conv2d(x, 96, 11, strides=4, activation="relu", name="conv1")
    x = LocalResponseNormalization(name="norm1")(x)
    x = pool2d(x, 3, kind="max", strides=2, name="pool1")
    x = conv2d(x, 256, 5, groups=groups, padding="same", activation="relu", name="conv2")
    x = LocalResponseNormalization(name="norm2")(x)
    x = pool2d(x, 3, kind="max", strides=2, name="pool2")
    x = conv2d(x, 384, 3, padding="same", activation="relu", name="conv3")
    x = conv2d(x, 384, 3, groups=groups, padding="same", activation="relu", name="conv4")
    x = conv2d(x, 256, 3, groups=groups, padding="same", activation="relu", name="conv5")
    x = pool2d(x, 3, kind="max", strides=2, name="pool5")
    x = keras.layers.Flatten(name="flatten")(x)
    for name in ("6", "7"):
        x = keras.layers.Dense(1024 if small else 4096, activation="relu", name=f"fc{name}")(x)
        x = keras.layers.Dropout(0.5, name=f"dropout{name}")(x)
    return softmax(x, num_classes)
