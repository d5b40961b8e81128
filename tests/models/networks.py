"""Networks to describe and draw."""

import keras

from convoy.config import TrainingConfig
from convoy.models.describe import describe
from convoy.models.graph import without_weights

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
