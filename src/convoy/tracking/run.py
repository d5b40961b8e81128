"""The driver's access to the MLflow run of a training."""

import json
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
from matplotlib.figure import Figure
from mlflow.data.dataset import Dataset
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.utils.time import get_current_time_millis

from convoy.config import Config
from convoy.console import say
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest
from convoy.dataset.storage.object_path import ObjectPath
from convoy.plots.training import training_curves
from convoy.tracking.auth_errors import auth_errors_explained
from convoy.tracking.descriptions import NOTE
from convoy.tracking.metric_queue import MetricQueue
from convoy.tracking.presentation import layer_metric, metric_name, parameters
from convoy.tracking.redaction import without_secrets

_PARAM_LIMIT = 6000
_BATCH = 100  # MLflow's limit for one request
_OF_EPOCHS = ("loss", "accuracy", "val_loss", "val_accuracy", "images_per_second", "learning_rate")
_OF_MACHINES = ("_cpu_utilization_percentage", "_system_memory_usage_megabytes")
_FLUSH_SECONDS = 60.0


class _VersionInput(Dataset):
    """A dataset version as an input of a run in MLflow."""

    def __init__(self, manifest: Manifest, source: DatasetSource) -> None:
        self._profile = {"rows": manifest.rows(), "classes": len(manifest.classes), "image": manifest.shape}
        super().__init__(source, manifest.name, manifest.version)

    def _compute_digest(self) -> str:
        raise NotImplementedError("the version is the digest")

    def to_dict(self) -> dict[str, str]:
        """Return the stored fields: those of the base class and the profile, as JSON."""
        return {**super().to_dict(), "profile": json.dumps(self._profile)}

    @property
    def profile(self) -> dict[str, Any]:
        """Return rows per split, number of classes and shape."""
        return self._profile

    @property
    def schema(self) -> None:
        """Return None: for images, the profile is more useful."""
        return None


class TrainingRun:
    """An open run.

    Attributes:
        run_id: MLflow's id.
        history: Epoch, from 0 -> its metrics.
        health: Epoch, from 0 -> metrics of the layers.
        then: How to continue the run, as the end of an error message.
    """

    def __init__(self, run_id: str, experiment_id: str) -> None:
        self.run_id, self.experiment_id = run_id, experiment_id
        self.history: dict[int, dict[str, float]] = {}
        self.health: dict[int, dict[str, float]] = {}
        self.then = ""
        self._logged: set[tuple[str, int]] = set()
        self._samples_before = 0
        self._client = mlflow.MlflowClient()
        self._delivery = MetricQueue(self._send, say)

    def log_config(self, config: Config, section: str | None = None) -> None:
        """Log the settings that shape what is trained as parameters, named as on the command line.

        Args:
            config: The configuration.
            section: A further section to log, e.g. ``experiment``.
        """
        shown = parameters(config, section)
        params = [Param(name, without_secrets(name, value)[:_PARAM_LIMIT]) for name, value in shown.items()]
        for start in range(0, len(params), _BATCH):
            self._client.log_batch(self.run_id, params=params[start : start + _BATCH])

    def log_dataset(self, manifest: Manifest, path: Location) -> None:
        """Log the dataset version as the run's input, and its pictures."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow tries sources of every kind and warns about each
            source = resolve_dataset_source(str(path))
        dataset = _VersionInput(manifest, source)
        context = InputTag("mlflow.data.context", "training")
        # Not with mlflow.start_run: leaving its block would mark the run as finished.
        self._client.log_inputs(self.run_id, [DatasetInput(dataset._to_mlflow_entity(), [context])])
        with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
            pictures = path / "pictures"
            if isinstance(pictures, ObjectPath):
                for picture in pictures.iterdir():
                    picture.download(Path(folder) / picture.name)
                pictures = Path(folder)
            if pictures.is_dir():
                self._client.log_artifacts(self.run_id, str(pictures), "dataset")

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log an epoch's metrics, once; steps count epochs from 1.

        It returns immediately, and training continues if the store does not answer: metrics are sent later.
        """
        self.history.setdefault(epoch, dict(metrics))
        self._queue(epoch + 1, metrics)

    def log_ranks(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log more metrics of an epoch, which are not part of ``history``."""
        self._queue(epoch + 1, metrics)

    def log_health(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log the state of the layers after an epoch."""
        self.health.setdefault(epoch, dict(metrics))
        self._queue(epoch + 1, metrics)

    def log_update(self, number: int, metrics: Mapping[str, float]) -> None:
        """Log metrics of an update, counted from 1."""
        self._queue(number, metrics)

    def log_sample(self, number: int, metrics: Mapping[str, float]) -> None:
        """Log the state of a machine: the sample of that number, counted on from the run's existing samples."""
        self._queue(self._samples_before + number, metrics)

    def _queue(self, step: int, metrics: Mapping[str, float]) -> None:
        now = get_current_time_millis()
        named = {metric_name(name): value for name, value in metrics.items()}
        new = [name for name in named if (name, step) not in self._logged]
        self._logged.update((name, step) for name in new)
        self._delivery.put([Metric(name, named[name], now, step) for name in new])

    def _send(self, metrics: Sequence[Metric]) -> None:
        with auth_errors_explained(self.then):
            self._client.log_batch(self.run_id, metrics)

    def remember(self, histories: Iterable[Iterable[Metric]]) -> None:
        """Register the metrics that the run has already; they are not logged again."""
        for metric in (metric for history in histories for metric in history):
            self._logged.add((metric.key, metric.step))
            layer = layer_metric(metric.key)
            if metric.key.endswith(_OF_MACHINES):
                self._samples_before = max(self._samples_before, metric.step)
            if metric.key in _OF_EPOCHS and metric.step > 0:
                self.history.setdefault(metric.step - 1, {})[metric.key] = metric.value
            if layer is not None and metric.step > 0:
                self.health.setdefault(metric.step - 1, {})[layer] = metric.value

    def flush(self, seconds: float = _FLUSH_SECONDS) -> None:
        """Wait until all metrics are logged.

        Raises:
            TrackingError: The store does not accept them within that time.
        """
        self._delivery.finish(seconds)

    def log_figure(self, figure: Figure, name: str) -> None:
        """Log a picture as an artifact."""
        self._client.log_figure(self.run_id, figure, name)

    def log_network(self, text: str, picture: Path | None) -> None:
        """Log a description of the network and, if there is one, the file of its picture."""
        self._client.log_text(self.run_id, text, "model/description.txt")
        if picture is not None:
            self._client.log_artifact(self.run_id, str(picture), "model")

    def log_folder(self, folder: Path) -> None:
        """Log all files of a folder, under their names in it."""
        self._client.log_artifacts(self.run_id, str(folder))

    def describe(self, note: str) -> None:
        """Set the run's description, in Markdown."""
        self._client.set_tag(self.run_id, NOTE, note)

    def log_best(self) -> None:
        """Log the best value of each validation metric, since tables of runs show the last values.

        The step is 0, as for an evaluation: MLflow then draws bars instead of curves with one point.
        """
        for name, best in (("val_loss", min), ("val_accuracy", max)):
            known = [metrics[name] for metrics in self.history.values() if name in metrics]
            if known:
                self._delivery.put([Metric(f"best_{name}", best(known), get_current_time_millis(), 0)])

    def log_curves(self) -> None:
        """Log the training curves as a picture."""
        history = [self.history[epoch] for epoch in sorted(self.history)]
        self.log_figure(training_curves(history), "training_curves.png")
