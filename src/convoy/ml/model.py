"""The model that ``ImageClassifier`` fits."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.ml import Model
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from convoy.errors import ConfigError, ModelError
from convoy.ml.output import scored, vector, with_columns
from convoy.ml.package_file import package_facts, read_package, write_package
from convoy.ml.params import ClassifierParams, column_of
from convoy.ml.persistence import Persistable
from convoy.ml.rows import check_new
from convoy.models.package import ModelPackage

if TYPE_CHECKING:
    from convoy.workflows.results import TrainResult


class ImageClassifierModel(Model, ClassifierParams, Persistable):
    """A trained image classifier, as a stage of a ``PipelineModel``.

    It is returned by ``ImageClassifier.fit`` and ``ImageClassifierModel.load``. ``transform`` adds the columns that its
    params name, computed as ``convoy.score_images`` does. What ``save`` writes contains the network, so a loaded model
    needs no MLflow.

    Attributes:
        labels: Class names by index: that of ``predictionIndexCol``, and that in the vector of ``probabilityCol``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.labels: list[str] = []
        self._indices = False  # whether the label column has them
        self._package: ModelPackage | None = None
        self._summary: TrainResult | None = None

    def getModelUri(self) -> str:
        """Return the MLflow URI of the model, e.g. ``models:/digits/3``, for ``convoy.score_images`` and others."""
        return self._loaded().uri

    @property
    def hasSummary(self) -> bool:
        """Whether there is a summary: only until the model is saved, as of Spark's own models."""
        return self._summary is not None

    @property
    def summary(self) -> "TrainResult":
        """The result of the training: its MLflow run, metrics, and ``history``, a row per epoch.

        Raises:
            RuntimeError: The model was loaded.
        """
        if self._summary is None:
            raise RuntimeError(f"no training summary is available for this {type(self).__name__}: it was loaded")
        return self._summary

    def _loaded(self) -> ModelPackage:
        if self._package is None:
            raise ModelError("this ImageClassifierModel has no network; expected one of ImageClassifier.fit or load")
        return self._package

    def _transform(self, dataset: DataFrame) -> DataFrame:
        package = self._loaded()
        names = ("predictionCol", "predictionIndexCol", "probabilityCol", "errorCol")
        check_new(dataset, [(name, column_of(self, name)) for name in names])
        if column_of(self, "predictionIndexCol"):
            check_indices(self._indices)
        result = scored(dataset, self.getOrDefault("imageCol"), "imageCol", package, embeddings=False)
        position = {name: place for place, name in enumerate(self.labels)}
        places = [position[name] for name in package.classes]
        return with_columns(
            dataset,
            result,
            self,
            [
                (column_of(self, "predictionCol"), F.col("prediction")),
                (column_of(self, "predictionIndexCol"), _index(places)),
                (column_of(self, "probabilityCol"), vector(_spread(places, len(self.labels)))),
            ],
        )

    def _facts(self) -> dict[str, Any]:
        package = self._loaded()
        return {"labels": self.labels, "indices": self._indices, "package": package_facts(package)}

    def _save_data(self, spark: SparkSession, path: str) -> None:
        write_package(spark, path, self._loaded())

    def _restore(self, spark: SparkSession, path: str, facts: Mapping[str, Any]) -> None:
        self.labels, self._indices = list(facts["labels"]), bool(facts["indices"])
        self._package = read_package(spark, path, facts["package"])


def fitted(package: ModelPackage, labels: Sequence[str] | None, summary: "TrainResult") -> ImageClassifierModel:
    """Return the model of a finished training; its params are still those of no estimator.

    Args:
        package: The network.
        labels: Class names by index, if the label column has indices; None if it has names.
        summary: The result of the training.
    """
    model = ImageClassifierModel()
    model.labels, model._indices = list(labels or package.classes), labels is not None
    model._package, model._summary = package, summary
    return model


def check_indices(indices: bool) -> None:
    """Raise ``ConfigError`` if predictions are wanted as indices, but the labels are not indices."""
    if not indices:
        raise ConfigError(
            "predictionIndexCol is set, but labelCol has no indices that it could be compared with; put"
            " StringIndexer(inputCol=..., outputCol='labelIndex') before, and set labelCol to 'labelIndex'"
        )


def _index(places: Sequence[int]) -> Column:
    """Return the index in ``labels`` of the predicted class, as Spark's predictions are: a double."""
    if list(places) == list(range(len(places))):
        return F.col("prediction_index").cast("double")
    return F.element_at(F.array(*map(F.lit, places)), F.col("prediction_index") + 1).cast("double")


def _spread(places: Sequence[int], count: int) -> Column:
    """Return the probabilities by index in ``labels``: 0 for classes that no training row had."""
    values = F.col("probabilities")
    if list(places) == list(range(count)):
        return values
    found = {place: position for position, place in enumerate(places, 1)}
    positions = F.array(*(F.lit(found.get(place, 0)) for place in range(count)))
    spread = F.transform(positions, lambda at: F.when(at > 0, F.element_at(values, at)).otherwise(F.lit(0.0)))
    return F.when(values.isNotNull(), spread)
