"""Untrained networks as models of MLflow, in stores of their own."""

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import keras
import mlflow
import numpy as np

from convoy.dataset.storage.manifest import Duplicates, Manifest, SplitEntry
from convoy.images import ArraySpec, Geometry, ImageProfile, quantile_bins
from convoy.tracking import connection
from convoy.tracking.model_io import log_model
from tests.conftest import noise
from tests.inference.packages import CLASSES, SMALL, network

PROFILE = ImageProfile(quantile_bins(dict.fromkeys(range(100), 30)), quantile_bins({8: 3000}), quantile_bins({6: 3000}))


def manifest(geometry: Geometry | None = SMALL, spec: ArraySpec | None = None) -> Manifest:
    """Of a dataset of animals that nobody has."""
    spec = spec or SMALL.spec
    return Manifest(
        name="animals" if geometry else "signals",
        version="1",
        fingerprint="f" * 64,
        image=geometry,
        codec="raw",
        classes=CLASSES,
        pixel_mean=[1.0],
        pixel_std=[1.0],
        class_weights=dict.fromkeys(CLASSES, 1.0),
        splits={"train": SplitEntry(3000, dict.fromkeys(CLASSES, 600), [])},
        sizes=None,
        duplicates=Duplicates(0, 0, 0),
        settings={},
        quarantined=0,
        source={},
        created="2026-01-01T00:00:00+00:00",
        shape=geometry.shape if geometry else spec.shape,
        dtype=spec.dtype,
        profile=PROFILE if geometry else None,
    )


@functools.cache
def _tables() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        connection.connect(f"sqlite:///{folder}/mlflow.db", create=True)
        return (Path(folder) / "mlflow.db").read_bytes()


def connect(folder: Path) -> str:
    """Connect MLflow to a new store in a folder; returns its URI. To make tables takes a second, so they are copied."""
    (folder / "mlflow.db").write_bytes(_tables())
    uri = f"sqlite:///{folder.absolute()}/mlflow.db"
    connection.connect(uri)
    return uri


def new_run(uri: str) -> str:
    """Connect MLflow to a store; returns the id of a new run there."""
    connection.connect(uri)
    return str(mlflow.MlflowClient().create_run(connection.experiment_id("animals")).info.run_id)


@dataclass(frozen=True)
class Logged:
    """A model in a store.

    Attributes:
        store: Tracking URI.
        uri: Of the model, in the registry.
        folder: Where the model's files are.
    """

    store: str
    uri: str
    folder: Path


def _log(store_uri: str, of: Manifest, examples: np.ndarray) -> Logged:
    run_id = new_run(store_uri)
    uri, _ = log_model(network(of.shape, of.dtype), of, examples, run_id, of.name)
    return Logged(mlflow.get_tracking_uri(), uri, Path(mlflow.artifacts.download_artifacts(uri)))


def log_images(store_uri: str) -> Logged:
    """Log and register a model of images as training does."""
    return _log(store_uri, manifest(), noise(3, *SMALL.shape))


def log_signals(store_uri: str) -> Logged:
    """Log and register a model of float32 (12,)."""
    examples = np.random.default_rng(0).normal(size=(3, 12)).astype(np.float32)
    return _log(store_uri, manifest(None, ArraySpec((12,), "float32")), examples)


def log_foreign(beside: Logged, model: keras.Model) -> str:
    """Log a network as anybody would, beside another model; returns its URI."""
    run_id = new_run(beside.store)
    with mlflow.start_run(run_id=run_id):
        mlflow.keras.log_model(model, "model", pip_requirements=["keras"])
    return f"runs:/{run_id}/model"
