"""Checks on the driver before Spark starts: the dataset, whether the network fits it, the run to resume."""

from collections.abc import Iterable
from dataclasses import replace

import keras

from convoy.config import Config, TrainingConfig
from convoy.console import say
from convoy.dataset.ingest.checks import check_channels
from convoy.dataset.reading.split_reader import AUTO_BYTES
from convoy.dataset.storage import catalog
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest
from convoy.dataset.storage.object_path import ObjectPath
from convoy.errors import ConfigError, ModelError
from convoy.training.checkpoint.resume import check_resumable
from convoy.training.network import Build, check_network

_MOST_OF_MEMORY = 0.5  # for decoded samples; the rest is for TensorFlow, activations and the optimizer


def prepare(config: Config, build: Build) -> tuple[Location, Manifest, keras.Model]:
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
    check_channels(manifest)
    if config.training.reader == "petastorm" and isinstance(path, ObjectPath):
        raise ConfigError(
            f"training.reader is 'petastorm', which reads local folders, and dataset.root is {config.dataset.root!r};"
            " expected training.reader convoy"
        )
    model = check_network(build, config.model, manifest)
    config.training.augmentation.check_fits(manifest.shape, manifest.dtype)
    if config.training.resume:
        check_resumable(config, manifest.fingerprint)
    return path, manifest, model


def fit_cache(training: TrainingConfig, manifest: Manifest, memory: int | None) -> TrainingConfig:
    """Return the settings with cache ``none`` in place of ``auto`` if the splits would not fit into memory.

    It is decided once, for all ranks: the order of samples depends on it.

    Args:
        training: Section ``training``.
        manifest: Manifest of the dataset version.
        memory: Bytes that each rank may use; None if that is not known.
    """
    if training.cache != "auto" or training.resume is not None or memory is None:
        return training
    sizes = [manifest.split(name).rows * manifest.spec.nbytes for name in ("train", "validation")]
    kept = sum(size for size in sizes if size <= AUTO_BYTES)
    if kept <= _MOST_OF_MEMORY * memory:
        return training
    say(
        f"training.cache auto: the decoded splits take {kept / 2**20:,.0f} MiB and a rank may use"
        f" {memory / 2**20:,.0f} MiB, so they are read from their files in every epoch (none)"
    )
    return replace(training, cache="none")


def check_networks(build: Build, named: Iterable[tuple[str, Config]], manifest: Manifest) -> None:
    """Build the networks of several configurations, so that errors are found before anything is trained.

    Args:
        build: Builds the networks.
        named: Pairs (name for messages, configuration).
        manifest: Manifest of the dataset.

    Raises:
        ModelError: A network does not fit the dataset.
        ConfigError: An augmentation does not fit the dataset.
        SourceError: A channel of the dataset is constant.
    """
    check_channels(manifest)
    seen = []
    for name, config in named:
        try:
            if config.model not in seen:
                check_network(build, config.model, manifest)
            config.training.augmentation.check_fits(manifest.shape, manifest.dtype)
        except (ConfigError, ModelError) as error:
            raise type(error)(f"{name}: {error}") from None
        seen.append(config.model)
