"""Networks to look at."""

import contextlib

import keras

from convoy.config import ModelConfig, TrainingConfig
from convoy.models.builder import build
from convoy.models.summary.describe import describe
from convoy.models.summary.graph import without_weights
from tests.version_differences import clear_session

ONE = TrainingConfig(num_workers=0, global_batch_size=1)


def chain(shape, *network, name="chain"):
    x = image = keras.Input(shape, name="image")
    for layer in network:
        x = layer(x)
    return keras.Model(image, x, name=name)


def layer_of(network, name):
    (found,) = [layer for layer in network.layers if layer.name == name]
    return found


def published(name, **options):
    return describe(without_weights(lambda: getattr(keras.applications, name)(weights=None, **options)), ONE)


def make(name, shape, classes=10, dtype="uint8", **options):
    """One of the architectures."""
    return build(ModelConfig(name, **options), shape, classes, [100.0] * shape[-1], [50.0] * shape[-1], dtype)


@contextlib.contextmanager
def weights_without_values():
    """Builds networks whose weights have shapes only, which is quick and needs no memory."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    clear_session()  # it would give values to the weights some time later
