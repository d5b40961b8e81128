"""The transformer that turns images into features of a trained network."""

from typing import Any

from pyspark import keyword_only
from pyspark.ml import Transformer
from pyspark.ml.param import Param, Params
from pyspark.ml.param.shared import HasInputCol, HasOutputCol
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from convoy.errors import ConfigError
from convoy.ml.output import scored, vector, with_columns
from convoy.ml.params import HandlesInvalid, column_of, text_param
from convoy.ml.persistence import Persistable
from convoy.ml.rows import check_new

_TYPES = ("vector", "array")


def _output_type(value: Any) -> str:
    if value not in _TYPES:
        raise TypeError(f"expected one of {', '.join(_TYPES)}, not {value!r}")
    return str(value)


class ImageFeaturizer(Transformer, HasInputCol, HasOutputCol, HandlesInvalid, Persistable):
    """Adds the embeddings of images: the input of the last layer of a trained network that has weights.

    They are computed as by ``convoy.score_images``. An alias in ``model`` is resolved when images are first
    transformed, and replaced by the version, so that a stage that was fitted on embeddings gets those of the same
    model later; set ``model`` again to follow the alias.

    Example:
        >>> features = ImageFeaturizer(inputCol="content", outputCol="features", model="models:/digits/1")
        >>> Pipeline(stages=[StringIndexer(...), features, LogisticRegression(...)])
    """

    inputCol = text_param(
        "inputCol",
        "name of the column of images: encoded files (binary), their paths (string), Spark's image struct, or arrays of"
        " the model's shape",
    )
    outputCol = text_param("outputCol", "name of the column with the embeddings")
    model = text_param("model", "MLflow URI of the model, e.g. models:/digits/1 or models:/digits@champion")
    trackingUri = text_param("trackingUri", "MLflow's tracking URI; undefined is MLflow's current one")
    outputType: "Param[str]" = Param(
        Params._dummy(), "outputType", "type of outputCol: vector, or array (of floats)", typeConverter=_output_type
    )

    _input_kwargs: dict[str, Any]

    @keyword_only
    def __init__(
        self,
        *,
        inputCol: str = "image",
        outputCol: str = "features",
        model: str | None = None,
        outputType: str = "vector",
        trackingUri: str | None = None,
        handleInvalid: str = "keep",
        errorCol: str = "",
    ) -> None:
        """Set the params that are given; ``explainParams()`` prints them with their descriptions."""
        super().__init__()
        self._setDefault(inputCol="image", outputCol="features", outputType="vector")
        self.setParams(**self._input_kwargs)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        check_new(dataset, [(name, column_of(self, name)) for name in ("outputCol", "errorCol")])
        uri, output = column_of(self, "model"), column_of(self, "outputCol")
        if uri is None or output is None:
            raise ConfigError(f"{'outputCol' if uri else 'model'} is not set; expected e.g. model='models:/digits/1'")
        from convoy.tracking import connection
        from convoy.tracking.model_io import load_package

        if store := column_of(self, "trackingUri"):
            connection.connect(store)
        package = load_package(uri)
        self.set(self.model, package.uri)
        result = scored(dataset, self.getOrDefault("inputCol"), "inputCol", package, embeddings=True)
        values = F.col("embedding")
        found = vector(values) if self.getOrDefault("outputType") == "vector" else values
        return with_columns(dataset, result, self, [(output, found)])
