"""Networks as users write them: their first layers, and what these do to the scale of the samples."""

import keras
import numpy as np
from keras import layers


def _head(x, num_classes):
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dense(num_classes, activation="softmax")(x)


def _with_first(*first):
    """Return a function that builds a small network behind some layers."""

    def build(input_shape, num_classes):
        x = image = keras.Input(input_shape)
        for layer in first:
            x = layer()(x)
        return keras.Model(image, _head(layers.Conv2D(4, 3)(x), num_classes))

    return build


def _backbone(name, **options):
    def build(input_shape, num_classes):
        base = getattr(keras.applications, name)(
            weights=None, include_top=False, input_shape=input_shape, pooling="avg", **options
        )
        image = keras.Input(input_shape)
        x = layers.RandomFlip("horizontal")(image)
        return keras.Model(image, layers.Dense(num_classes, activation="softmax")(base(x, training=False)))

    return build


def _adapted(input_shape, num_classes):
    adapted = layers.Normalization()
    adapted.adapt(np.stack([np.full(input_shape, 100.0), np.full(input_shape, 160.0)]))
    return keras.Sequential(
        [keras.Input(input_shape), adapted, layers.Flatten(), layers.Dense(num_classes, activation="softmax")]
    )


def _preprocess_input(module):
    def build(input_shape, num_classes):
        image = keras.Input(input_shape)
        x = getattr(keras.applications, module).preprocess_input(image)
        return keras.Model(image, _head(layers.Conv2D(4, 3)(x), num_classes))

    return build


def _augmentation_then_rescaling(input_shape, num_classes):
    augmentation = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)])
    nested = keras.Sequential([keras.Input(input_shape), augmentation, layers.Rescaling(1 / 127.5, offset=-1)])
    image = keras.Input(input_shape)
    x = layers.Concatenate()([nested(image)] * 2)
    return keras.Model(image, _head(layers.Conv2D(4, 3)(x), num_classes))


def _grey_to_rgb(input_shape, num_classes):
    image = keras.Input(input_shape)
    x = keras.ops.repeat(image[..., :1], 3, axis=-1)
    x = layers.Rescaling(1 / 255)(layers.Resizing(16, 16)(x))
    return keras.Model(image, _head(layers.Conv2D(4, 3)(x), num_classes))


def _two_branches(second):
    def build(input_shape, num_classes):
        image = keras.Input(input_shape)
        a = layers.Conv2D(4, 3, name="first")(layers.Rescaling(1 / 255, name="scaled")(image))
        b = layers.Conv2D(4, 3, name="second")(second()(image))
        return keras.Model(image, _head(layers.Add()([a, b]), num_classes))

    return build


def _per_image(input_shape, num_classes):
    image = keras.Input(input_shape)
    x = image - keras.ops.mean(image, axis=(1, 2), keepdims=True)
    return keras.Model(image, _head(layers.Conv2D(4, 3)(x), num_classes))


NORMALISING = {
    "rescaling": _with_first(lambda: layers.Rescaling(1 / 255)),
    "rescaling behind identity and reshape": _with_first(
        layers.Identity, lambda: layers.Reshape((32, 32, 3)), lambda: layers.Rescaling(1 / 255)
    ),
    "rescaling behind augmentation in nested networks": _augmentation_then_rescaling,
    "rescaling behind operations": _grey_to_rgb,
    "adapted normalisation": _adapted,
    "fixed normalisation": _with_first(lambda: layers.Normalization(mean=[127.5] * 3, variance=[5000.0] * 3)),
    "arithmetic": _preprocess_input("mobilenet_v2"),
    "arithmetic behind a clip": _with_first(lambda: lambda x: keras.ops.clip(x, 0, 255) / 255.0),
    "arithmetic by channel": _preprocess_input("resnet50"),
    "channels that are split": _with_first(
        lambda: lambda x: keras.ops.concatenate(keras.ops.split(x, 3, axis=-1)[::-1], axis=-1),
        lambda: layers.Rescaling(1 / 255),
    ),
    "both branches": _two_branches(lambda: layers.Rescaling(1 / 127.5, offset=-1)),
    "EfficientNetB0": _backbone("EfficientNetB0"),
    "EfficientNetV2B0": _backbone("EfficientNetV2B0"),
    "MobileNetV3Small": _backbone("MobileNetV3Small"),
}
RAW = {
    "convolution": _with_first(layers.Identity),
    "batch normalisation": _with_first(layers.BatchNormalization),
    "rescaling by 1": _with_first(lambda: layers.Rescaling(1.0)),
    "normalisation without adapt": _with_first(layers.Normalization),
    "rescaling behind a convolution": _with_first(lambda: layers.Conv2D(3, 1), lambda: layers.Rescaling(1 / 255)),
    "an activation first": _with_first(lambda: layers.Activation("relu"), lambda: layers.Rescaling(1 / 255)),
    "MobileNetV3 without preprocessing": _backbone("MobileNetV3Small", include_preprocessing=False),
    "MobileNetV2": _backbone("MobileNetV2"),
    "mean of each image": _per_image,
}
MIXED = {"one branch of two": _two_branches(layers.Identity)}
