"""Checks on the driver before Spark starts: the dataset, whether the network fits it, the run to resume."""

from collections.abc import Iterable
from pathlib import Path

import keras

from convoy.config import Config
from convoy.dataset.storage import catalog
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import ConfigError, ModelError
from convoy.training.checkpoint.resume import check_resumable
from convoy.training.network import Build, check_network


def prepare(config: Config, build: Build) -> tuple[Path, Manifest, keras.Model]:
    """Find the dataset version, and check everything that needs neither Spark nor MLflow.

    Args:
        config: The configuration.
        build: Builds the network.

    Returns:
        (Folder of the dataset version, its manifest, the network, whose weights have no values).

    Raises:
        ConvoyError: Something is missing, or does not fit.
    """
    path = catalog.find(config.dataset.root, config.dataset.name, config.dataset.version)
    manifest = Manifest.load(path)
    manifest.split("validation")
    model = check_network(build, config.model, manifest)
    config.training.augmentation.check_fits(manifest.shape, manifest.dtype)
    if config.training.resume:
        check_resumable(config, manifest.fingerprint)
    return path, manifest, model


def check_networks(build: Build, named: Iterable[tuple[str, Config]], manifest: Manifest) -> None:
    """Build the networks of several configurations, so that errors are found before anything is trained.

    Args:
        build: Builds the networks.
        named: Pairs (name for messages, configuration).
        manifest: Manifest of the dataset.

    Raises:
        ModelError: A network does not fit the dataset.
        ConfigError: An augmentation does not fit the dataset.
    """
    seen = []
    for name, config in named:
        try:
            if config.model not in seen:
                check_network(build, config.model, manifest)
            config.training.augmentation.check_fits(manifest.shape, manifest.dtype)
        except (ConfigError, ModelError) as error:
            raise type(error)(f"{name}: {error}") from None
        seen.append(config.model)
