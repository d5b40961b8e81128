"""Small untrained networks as packages: what they say does not matter, that everybody says the same does."""

import functools
import os
import tempfile

from convoy.images import ArraySpec, Geometry
from convoy.models.package import ModelPackage

CLASSES = ["ant", "bee", "cat", "dog", "elk"]
SMALL = Geometry(8, 6, 3, "stretch")


@functools.cache
def network(shape=SMALL.shape, dtype="uint8"):
    """A small CNN with dropout and batch normalisation, from raw samples to probabilities."""
    import keras

    keras.utils.set_random_seed(1)
    samples = keras.Input(shape, dtype=dtype)
    x = keras.layers.Rescaling(1 / 64, -2)(samples)
    if len(shape) == 3:
        x = keras.layers.Conv2D(4, 3, activation="relu")(x)
        x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(7, activation="tanh", name="penultimate")(x)
    x = keras.layers.Dropout(0.5)(x)
    return keras.Model(samples, keras.layers.Dense(len(CLASSES), activation="softmax")(x))


@functools.cache
def package(geometry=SMALL, spec=None):
    """The network as it comes out of the registry."""
    spec = spec or geometry.spec
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "model.keras")
        network(spec.shape, spec.dtype).save(file)
        with open(file, "rb") as content:
            return ModelPackage("models:/animals/7", content.read(), geometry, spec, CLASSES, None)


def signals():
    """A package that takes float32 (12,), which is no image."""
    return package(None, ArraySpec((12,), "float32"))


def truth(samples):
    """Keras' own probabilities."""
    return network(samples.shape[1:], samples.dtype.name).predict(samples, batch_size=32, verbose=0)
