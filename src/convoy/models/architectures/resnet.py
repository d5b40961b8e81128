"""Residual networks of basic blocks (two 3x3 convolutions); ResNet50 is in ``applications``.

K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", 2016. Published counts are those of
trainable weights; Keras also counts batch normalisation's moving statistics.
"""

import keras

from convoy.config import ModelConfig
from convoy.models.layers.blocks import KerasTensor, softmax


def resnet18(x: KerasTensor, num_classes: int, config: ModelConfig) -> KerasTensor:
    """Apply ResNet with 18 layers (table 1): 11,689,512 trained parameters at 1,000 classes and three channels.

    ``small``: a first convolution of 3x3 at stride 1 instead of 7x7 at stride 2, and no pooling after it.
    """
    return _imagenet(x, (2, 2, 2, 2), num_classes, config)


def resnet34(x: KerasTensor, num_classes: int, config: ModelConfig) -> KerasTensor:
    """Apply ResNet with 34 layers (table 1): 21,797,672 trained parameters at 1,000 classes and three channels.

    ``small`` as in ``resnet18``.
    """
    return _imagenet(x, (3, 4, 6, 3), num_classes, config)


def resnet20(x: KerasTensor, num_classes: int, config: ModelConfig) -> KerasTensor:
    """Apply ResNet with 20 layers for CIFAR-10 (section 4.2): 269,722 trained parameters at 10 classes, 3 channels."""
    return _cifar(x, 3, num_classes)


def resnet56(x: KerasTensor, num_classes: int, config: ModelConfig) -> KerasTensor:
    """Apply ResNet with 56 layers for CIFAR-10 (section 4.2): 853,018 trained parameters at 10 classes, 3 channels."""
    return _cifar(x, 9, num_classes)


def _imagenet(x: KerasTensor, blocks: tuple[int, ...], num_classes: int, config: ModelConfig) -> KerasTensor:
    if config.variant == "small":
        x = _conv_bn_relu(x, 64, 3, 1, "conv1")
    else:
        x = _conv_bn_relu(x, 64, 7, 2, "conv1")
        x = keras.layers.ZeroPadding2D(1, name="pool1_pad")(x)  # pads with 0, the minimum of a ReLU
        x = keras.layers.MaxPooling2D(3, 2, name="pool1")(x)
    for stage, (count, filters) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), 2):
        for i in range(1, count + 1):
            stride = 2 if stage > 2 and i == 1 else 1
            name = f"conv{stage}_block{i}"
            shortcut = x if x.shape[-1] == filters else _conv_bn(x, filters, 1, stride, f"{name}_0")  # option B
            x = _block(x, shortcut, filters, stride, name)
    return _head(x, num_classes)


def _cifar(x: KerasTensor, blocks: int, num_classes: int) -> KerasTensor:
    x = _conv_bn_relu(x, 16, 3, 1, "conv1")
    for stage, filters in enumerate((16, 32, 64), 2):
        for i in range(1, blocks + 1):
            stride = 2 if stage > 2 and i == 1 else 1
            name = f"conv{stage}_block{i}"
            shortcut = x if x.shape[-1] == filters else _padded(x, filters, stride, f"{name}_0")  # option A
            x = _block(x, shortcut, filters, stride, name)
    return _head(x, num_classes)


def _block(x: KerasTensor, shortcut: KerasTensor, filters: int, stride: int, name: str) -> KerasTensor:
    x = _conv_bn_relu(x, filters, 3, stride, f"{name}_1")
    x = _conv_bn(x, filters, 3, 1, f"{name}_2")
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return keras.layers.Activation("relu", name=f"{name}_out")(x)


def _padded(x: KerasTensor, filters: int, stride: int, name: str) -> KerasTensor:
    """Return every ``stride``-th place, padded with channels of zeros: a shortcut without weights."""
    x = keras.layers.MaxPooling2D(1, stride, name=f"{name}_subsample")(x)
    # Keras has no layer that pads channels: with data format channels_first, padding the columns pads the last axis.
    padding = ((0, 0), (0, filters - x.shape[-1]))
    return keras.layers.ZeroPadding2D(padding, data_format="channels_first", name=f"{name}_channels")(x)


def _conv_bn(x: KerasTensor, filters: int, size: int, stride: int, name: str) -> KerasTensor:
    if stride > 1 and size > 1:  # "same" would pad on the right only, unlike the shortcut
        x = keras.layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    x = keras.layers.Conv2D(
        filters,
        size,
        stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x)


def _conv_bn_relu(x: KerasTensor, filters: int, size: int, stride: int, name: str) -> KerasTensor:
    return keras.layers.Activation("relu", name=f"{name}_relu")(_conv_bn(x, filters, size, stride, name))


def _head(x: KerasTensor, num_classes: int) -> KerasTensor:
    return softmax(keras.layers.GlobalAveragePooling2D(name="average")(x), num_classes)
