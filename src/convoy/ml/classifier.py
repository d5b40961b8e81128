"""The estimator: trains a network on the rows of a DataFrame."""

import threading
from dataclasses import replace
from typing import Any

from pyspark import keyword_only
from pyspark.ml import Estimator
from pyspark.sql import DataFrame

from convoy.config import ColumnsConfig, Config, SourceConfig
from convoy.ml.model import ImageClassifierModel, check_indices, fitted
from convoy.ml.params import ClassifierParams, column_of
from convoy.ml.persistence import Persistable
from convoy.ml.rows import check_new, indexed_labels, training_rows
from convoy.ml.settings import config_of, in_params

_TRAINING = threading.Lock()
"""Fits in threads of one process, as of a ``CrossValidator`` with parallelism, train one after the other."""


class ImageClassifier(Estimator[ImageClassifierModel], ClassifierParams, Persistable):
    """Trains a convolutional network on the images of a DataFrame.

    ``fit`` writes the rows as a version of a dataset below ``storeRoot``, or finds the version again that has them
    already, and trains on it as ``convoy.train`` does: on Horovod ranks, in one MLflow run.

    Example:
        >>> classifier = ImageClassifier(imageCol="content", labelCol="label", imageChannels=1, epochs=8)
        >>> model = classifier.fit(rows)
        >>> model.transform(others).select("prediction", "probability")
    """

    _input_kwargs: dict[str, Any]

    @keyword_only
    def __init__(
        self,
        *,
        imageCol: str = "image",
        labelCol: str = "label",
        predictionCol: str = "prediction",
        predictionIndexCol: str = "",
        probabilityCol: str = "probability",
        weightCol: str | None = None,
        validationCol: str | None = None,
        model: str = "lenet5",
        imageHeight: int = 32,
        imageWidth: int = 32,
        imageChannels: int = 3,
        epochs: int = 5,
        batchSize: int = 128,
        learningRate: float | None = None,
        optimizer: str = "adam",
        numWorkers: int = 2,
        seed: int = 0,
        storeRoot: str = "work/datasets",
        trackingUri: str | None = None,
        experiment: str | None = None,
        config: dict[str, Any] | None = None,
        handleInvalid: str = "keep",
        errorCol: str = "",
    ) -> None:
        """Set the params that are given; ``explainParams()`` prints them with their descriptions."""
        super().__init__()
        self.setParams(**self._input_kwargs)

    def _fit(self, dataset: DataFrame) -> ImageClassifierModel:
        config = config_of(self)
        rows = training_rows(dataset, self)
        names = ("predictionCol", "predictionIndexCol", "probabilityCol", "errorCol")
        check_new(dataset, [(name, column_of(self, name)) for name in names])
        if column_of(self, "predictionIndexCol"):
            check_indices(rows.numeric)
        from convoy.dataset.storage.manifest import Manifest
        from convoy.tracking.model_io import load_package
        from convoy.workflows.ingest import ingest
        from convoy.workflows.train import train

        with _TRAINING, in_params():
            config = replace(config, source=SourceConfig(kind="table", columns=_columns(rows.frame)))
            written = ingest(config, dataset.sparkSession, rows.frame)
            labels = indexed_labels(rows.names, rows.numeric, Manifest.load(written.path).classes)
            if column_of(self, "predictionIndexCol"):
                check_indices(labels is not None)
            trained = train(_on_version(config, written.version), dataset.sparkSession)
            model = fitted(load_package(str(trained.model_uri)), labels, trained)
        return self._copyValues(model._resetUid(self.uid))


def _columns(frame: DataFrame) -> ColumnsConfig:
    """Return the columns' names: those of ``training_rows``, without weights if there are none."""
    return ColumnsConfig(weight="weight" if "weight" in frame.columns else None)


def _on_version(config: Config, version: str) -> Config:
    return replace(config, dataset=replace(config.dataset, version=version))
