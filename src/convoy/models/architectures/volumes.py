"""Networks for volumes: samples of shape (depth, height, width, channels)."""

import keras

from convoy.config import ModelConfig
from convoy.models.layers.blocks import KerasTensor, conv3d, pool3d, softmax


def cnn3d(x: KerasTensor, num_classes: int, config: ModelConfig) -> KerasTensor:
    """Apply VoxNet: 921,736 parameters at 32x32x32x1 and 40 classes.

    D. Maturana, S. Scherer, "VoxNet: A 3D Convolutional Neural Network for Real-Time Object Recognition", 2015,
    section III.B.
    """
    x = conv3d(x, 32, 5, strides=2, name="conv1")
    x = keras.layers.LeakyReLU(0.1, name="relu1")(x)
    x = keras.layers.Dropout(0.2, name="dropout1")(x)
    x = conv3d(x, 32, 3, name="conv2")
    x = keras.layers.LeakyReLU(0.1, name="relu2")(x)
    x = pool3d(x, 2, name="pool2")
    x = keras.layers.Dropout(0.3, name="dropout2")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(128, activation="relu", name="fc1")(x)
    x = keras.layers.Dropout(0.4, name="dropout3")(x)
    return softmax(x, num_classes)
