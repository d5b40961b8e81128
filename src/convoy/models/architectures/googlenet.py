"""GoogLeNet, the first Inception network."""

import keras

from convoy.config import ModelConfig
from convoy.models.layers.blocks import KerasTensor, conv2d, pool2d, softmax
from convoy.models.layers.lrn import LocalResponseNormalization

_MODULES = {  # table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool proj
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
_AUXILIARY = {"4a": "auxiliary1", "4d": "auxiliary2"}  # section 5: connected to the outputs of these


def googlenet(x: KerasTensor, num_classes: int, config: ModelConfig) -> KerasTensor:
    """Apply GoogLeNet: 6,998,552 parameters at 224x224x3 and 1,000 classes, 13,378,280 with the auxiliary classifiers.

    C. Szegedy et al., "Going Deeper with Convolutions", 2015, table 1 and section 5; the counts are those of Caffe's
    ``bvlc_googlenet``. The network ends with global average pooling, so images may have any size.

    With ``auxiliary_heads`` the output is (N, 3, K): the probabilities of the main classifier, then those of the two
    auxiliary ones, after 4a and 4d. Layers have the same names with and without them.

    ``small``: the first convolution has 3x3 filters at stride 1 instead of 7x7 at stride 2, and the two poolings before
    the first Inception module are omitted.
    """
    small = config.variant == "small"
    x = _conv(x, 64, 3 if small else 7, "conv1", strides=1 if small else 2)
    x = x if small else _pool(x, "pool1")
    x = LocalResponseNormalization(name="norm1")(x)
    x = _conv(x, 64, 1, "conv2_reduce")
    x = _conv(x, 192, 3, "conv2")
    x = LocalResponseNormalization(name="norm2")(x)
    x = x if small else _pool(x, "pool2")
    heads = []
    for module, filters in _MODULES.items():
        if module in ("4a", "5a"):
            x = _pool(x, f"pool{int(module[0]) - 1}")
        x = _inception(x, filters, f"inception_{module}")
        if config.auxiliary_heads and module in _AUXILIARY:
            heads.append(_auxiliary(x, num_classes, _AUXILIARY[module]))
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    x = keras.layers.Dropout(0.4, name="dropout")(x)
    x = softmax(x, num_classes)
    if not heads:
        return x
    rows = [keras.layers.Reshape((1, num_classes), name=f"row{i}")(head) for i, head in enumerate([x, *heads])]
    return keras.layers.Concatenate(axis=1, name="heads")(rows)


def _conv(x: KerasTensor, filters: int, size: int, name: str, strides: int = 1) -> KerasTensor:
    return conv2d(x, filters, size, strides=strides, padding="same", activation="relu", name=name)


def _pool(x: KerasTensor, name: str, strides: int = 2) -> KerasTensor:
    return pool2d(x, 3, kind="max", strides=strides, padding="same", name=name)


def _inception(x: KerasTensor, filters: tuple[int, ...], name: str) -> KerasTensor:
    ones, reduce3, threes, reduce5, fives, projected = filters
    return keras.layers.Concatenate(name=name)(
        [
            _conv(x, ones, 1, f"{name}_1x1"),
            _conv(_conv(x, reduce3, 1, f"{name}_3x3_reduce"), threes, 3, f"{name}_3x3"),
            _conv(_conv(x, reduce5, 1, f"{name}_5x5_reduce"), fives, 5, f"{name}_5x5"),
            _conv(_pool(x, f"{name}_pool", strides=1), projected, 1, f"{name}_pool_proj"),
        ]
    )


def _auxiliary(x: KerasTensor, num_classes: int, name: str) -> KerasTensor:
    x = pool2d(x, 5, kind="average", strides=3, name=f"{name}_pool")
    x = _conv(x, 128, 1, f"{name}_conv")
    x = keras.layers.Flatten(name=f"{name}_flatten")(x)
    x = keras.layers.Dense(1024, activation="relu", name=f"{name}_fc")(x)
    x = keras.layers.Dropout(0.7, name=f"{name}_dropout")(x)
    return softmax(x, num_classes, name=f"{name}_output")
