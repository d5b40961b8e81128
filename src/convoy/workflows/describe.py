"""Describe what a network does and costs, before it is trained."""

from collections.abc import Sequence

import keras

from convoy.config import Config, TrainingConfig
from convoy.dataset.storage import catalog
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import ConfigError, DatasetError
from convoy.models.builder import build
from convoy.models.summary.describe import NetworkDescription
from convoy.models.summary.describe import describe as describe_network
from convoy.models.summary.graph import without_weights


def describe(
    network: Config | keras.Model, num_classes: int | None = None, shape: Sequence[int] | None = None
) -> NetworkDescription:
    """Describe a network layer by layer: sizes, weights, multiply-adds, receptive fields, memory.

    It needs no Spark, no GPU and, with ``num_classes``, no dataset. A notebook shows the result as a table.

    Args:
        network: The configuration of an experiment, whose network is built without values; or a built Keras network.
        num_classes: Number of classes; None takes the classes and the shape of the ingested dataset.
        shape: Shape of a sample, with ``num_classes``; None is that of ``dataset.image``.

    Returns:
        The description; ``str`` of it is the table, ``layers`` has one entry for each layer.

    Raises:
        ConfigError: ``num_classes`` is missing, and there is no dataset.
        ModelError: The network cannot take samples of that shape; the message has the layer and sizes that fit.
    """
    if isinstance(network, keras.Model):
        return describe_network(network, TrainingConfig(num_workers=0))
    return build_and_describe(network, num_classes, shape)[1]


def build_and_describe(
    config: Config, num_classes: int | None, shape: Sequence[int] | None
) -> tuple[keras.Model, NetworkDescription]:
    """Return the network of a configuration, whose weights have no values, and its description; see ``describe``."""
    sides, classes, dtype = tuple(shape or config.dataset.image.shape), num_classes, "uint8"
    if classes is None:
        try:
            manifest = Manifest.load(catalog.find(config.dataset.root, config.dataset.name, config.dataset.version))
        except DatasetError as error:
            raise ConfigError(
                f"num_classes is missing and no dataset tells it: {error}, or give --num_classes"
            ) from None
        sides, classes, dtype = manifest.shape, len(manifest.classes), manifest.dtype
    statistics = [0.0] * sides[-1], [1.0] * sides[-1]  # no size depends on them
    model = without_weights(lambda: build(config.model, sides, classes, *statistics, dtype))
    return model, describe_network(model, config.training)
