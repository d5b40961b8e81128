"""The params that the classes share, with a getter and a setter for each."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasLabelCol, HasPredictionCol, HasProbabilityCol, HasSeed, HasWeightCol

from convoy.config import Config
from convoy.errors import ConfigError, did_you_mean

P = TypeVar("P", bound=Params)

_HANDLING = ("keep", "skip", "error")


class Accessible(Params):
    """Params with ``getX`` and ``setX`` for each param ``x``, and ``setParams`` for several."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in dir(cls):
            if isinstance(param := getattr(cls, name, None), Param):
                suffix = name[0].upper() + name[1:]
                if not hasattr(cls, f"get{suffix}"):
                    setattr(cls, f"get{suffix}", _getter(param))
                if not hasattr(cls, f"set{suffix}"):
                    setattr(cls, f"set{suffix}", _setter(param))

    def setParams(self: P, **params: Any) -> P:
        """Set params by their names.

        Raises:
            TypeError: A value has the wrong type.
            ConfigError: There is no such param; the message names the nearest one.
        """
        for name in params:
            if not self.hasParam(name):
                known = [param.name for param in self.params]
                raise ConfigError(f"{type(self).__name__} has no param {name!r}{did_you_mean(name, known)}")
        return self._set(**params)


def value_of(params: Params, name: str) -> Any:
    """Return the value of a param, or its default; None if it has neither."""
    return params.getOrDefault(name) if params.isDefined(name) else None


def column_of(params: Params, name: str) -> str | None:
    """Return the name of a column that a param holds; None if it is unset or empty."""
    return value_of(params, name) or None


def _getter(param: Param) -> Callable[[Params], Any]:
    def get(self: Params) -> Any:
        return self.getOrDefault(param.name)

    get.__name__, get.__doc__ = f"get{param.name[0].upper()}{param.name[1:]}", f"Return ``{param.name}``: {param.doc}"
    return get


def _setter(param: Param) -> Callable[[P, Any], P]:
    def set_(self: P, value: Any) -> P:
        return self._set(**{param.name: value})

    set_.__name__, set_.__doc__ = f"set{param.name[0].upper()}{param.name[1:]}", f"Set ``{param.name}``: {param.doc}"
    return set_


def text_param(name: str, doc: str) -> "Param[str]":
    """Return a param of type string."""
    return Param(Params._dummy(), name, doc, typeConverter=TypeConverters.toString)


def int_param(name: str, doc: str) -> "Param[int]":
    """Return a param of type int."""
    return Param(Params._dummy(), name, doc, typeConverter=TypeConverters.toInt)


def _fields(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"Could not convert {value!r} to a dict of field name -> value")
    return dict(value)


def _invalid(value: Any) -> str:
    if value not in _HANDLING:
        raise TypeError(f"expected one of {', '.join(_HANDLING)}, not {value!r}")
    return str(value)


class HandlesInvalid(Accessible):
    """What a transformer does with images that cannot be scored."""

    handleInvalid: "Param[str]" = Param(
        Params._dummy(),
        "handleInvalid",
        "what becomes of rows whose image is null, damaged or missing: keep (the added columns are null), skip (the row"
        " is left out) or error (the job fails)",
        typeConverter=_invalid,
    )
    errorCol = text_param(
        "errorCol", "name of the column with the reason why an image cannot be scored, else null; not added if empty"
    )

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(handleInvalid="keep", errorCol="")


class ClassifierParams(HasLabelCol, HasPredictionCol, HasProbabilityCol, HasSeed, HasWeightCol, HandlesInvalid):
    """The params of ``ImageClassifier`` and of its model."""

    imageCol = text_param(
        "imageCol",
        "name of the column of images: encoded files (binary), their paths (string), or Spark's image struct",
    )
    labelCol = text_param(
        "labelCol", "name of the column of classes: strings or numbers, e.g. the output of StringIndexer"
    )
    predictionCol = text_param(
        "predictionCol", "name of the column with the name of the most probable class; not added if empty"
    )
    predictionIndexCol = text_param(
        "predictionIndexCol",
        "name of the column with the index of that class as a double, for Spark's evaluators; it needs a labelCol of"
        " indices, e.g. of StringIndexer; not added if empty",
    )
    probabilityCol = text_param(
        "probabilityCol", "name of the column with the vector of all classes' probabilities; not added if empty"
    )
    weightCol = text_param("weightCol", "name of the column of sample weights: numbers of 0 or more, null for 1")
    validationCol = text_param(
        "validationCol",
        "name of a boolean column: rows with true are for validation; without it, a share of the rows is held out"
        " (dataset.validation_fraction)",
    )
    model = text_param("model", "architecture, e.g. lenet5 or resnet20, or package.module:function (model.name)")
    imageHeight = int_param("imageHeight", "height in pixels to which images are resized (dataset.image.height)")
    imageWidth = int_param("imageWidth", "width in pixels to which images are resized (dataset.image.width)")
    imageChannels = int_param("imageChannels", "1 for grey or 3 for RGB (dataset.image.channels)")
    epochs = int_param("epochs", "passes over the training rows (training.epochs)")
    batchSize = int_param("batchSize", "samples per step, summed over all workers (training.global_batch_size)")
    learningRate: "Param[float]" = Param(
        Params._dummy(),
        "learningRate",
        "step size; undefined is the optimizer's default (training.optimizer.learning_rate)",
        typeConverter=TypeConverters.toFloat,
    )
    optimizer = text_param("optimizer", "update rule, e.g. adam or momentum (training.optimizer.name)")
    numWorkers = int_param(
        "numWorkers", "Horovod ranks, one Spark task each; 0 trains in the driver's process (training.num_workers)"
    )
    seed = int_param(
        "seed", "seed of the initial weights, the order of samples, augmentation and dropout (training.seed)"
    )
    storeRoot = text_param(
        "storeRoot", "folder for dataset versions; on a cluster, shared by all workers (dataset.root)"
    )
    trackingUri = text_param(
        "trackingUri",
        "MLflow's tracking URI; undefined is MLFLOW_TRACKING_URI, else sqlite:///mlflow.db (tracking.uri)",
    )
    experiment = text_param(
        "experiment", "MLflow experiment; undefined is MLFLOW_EXPERIMENT_NAME, else convoy (tracking.experiment)"
    )
    config: "Param[dict[str, Any]]" = Param(
        Params._dummy(),
        "config",
        "any other field of sections dataset, model, training and tracking: its name -> its value, e.g."
        " {'training.early_stopping.patience': 3}",
        typeConverter=_fields,
    )

    FIELDS: ClassVar[Mapping[str, str]] = {
        "model": "model.name",
        "imageHeight": "dataset.image.height",
        "imageWidth": "dataset.image.width",
        "imageChannels": "dataset.image.channels",
        "epochs": "training.epochs",
        "batchSize": "training.global_batch_size",
        "learningRate": "training.optimizer.learning_rate",
        "optimizer": "training.optimizer.name",
        "numWorkers": "training.num_workers",
        "seed": "training.seed",
        "storeRoot": "dataset.root",
        "trackingUri": "tracking.uri",
        "experiment": "tracking.experiment",
    }
    """Param -> the configuration's field that it sets."""

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(imageCol="image", predictionIndexCol="", config={})
        self._setDefault(**{name: default for name in self.FIELDS if (default := _default(name)) is not None})


def _default(name: str) -> Any:
    """Return the default of a param's field; None of those of MLflow, which depend on the environment."""
    field = ClassifierParams.FIELDS[name]
    value: Any = None if field.startswith("tracking.") else Config()
    for part in field.split(".") if value is not None else []:
        value = getattr(value, part)
    return value
