"""Networks for signals: samples of shape (length, channels)."""

import keras

from convoy.config import ModelConfig
from convoy.models.layers.blocks import KerasTensor, softmax


def cnn1d(x: KerasTensor, num_classes: int, config: ModelConfig) -> KerasTensor:
    """Apply a fully convolutional network for time series of any length.

    Z. Wang, W. Yan, T. Oates, "Time Series Classification from Scratch with Deep Neural Networks: A Strong Baseline",
    2017, figure 1b: three blocks of convolution, batch normalisation and ReLU, then the average over time.
    """
    for i, (filters, size) in enumerate(((128, 8), (256, 5), (128, 3)), 1):
        x = keras.layers.Conv1D(filters, size, padding="same", kernel_initializer="he_uniform", name=f"conv{i}")(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"bn{i}")(x)
        x = keras.layers.Activation("relu", name=f"relu{i}")(x)
    return softmax(keras.layers.GlobalAveragePooling1D(name="average")(x), num_classes)
