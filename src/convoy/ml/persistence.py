"""Saving and loading: metadata as Spark's own classes write it, with Convoy's version, and data where there are any."""

import json
import time
from collections.abc import Mapping
from typing import Any

from pyspark.errors import PySparkException
from pyspark.ml.param import Params
from pyspark.ml.util import MLReadable, MLReader, MLWritable, MLWriter
from pyspark.sql import SparkSession

from convoy import __version__
from convoy.errors import ConfigError

FORMAT = 1
"""Number of the form of what is saved; it changes only if older versions cannot read it."""
_HOME = "convoy.ml"
_KEY = "convoy"


class Persistable(Params, MLWritable, MLReadable[Any]):
    """Params with ``save``, ``write``, ``load`` and ``read``.

    A class with more than params overrides ``_facts``, ``_save_data`` and ``_restore``.
    """

    def write(self) -> MLWriter:
        """Return the writer; ``write().overwrite().save(path)`` replaces what is there."""
        return _Writer(self)

    @classmethod
    def read(cls) -> "MLReader[Any]":
        """Return the reader."""
        return _Reader(cls)

    def _facts(self) -> dict[str, Any]:
        """Return what is saved beside the params, for JSON."""
        return {}

    def _save_data(self, spark: SparkSession, path: str) -> None:
        """Save data in folders below ``path``."""

    def _restore(self, spark: SparkSession, path: str, facts: Mapping[str, Any]) -> None:
        """Take up what ``_facts`` returned and ``_save_data`` saved."""


class _Writer(MLWriter):
    def __init__(self, instance: Persistable) -> None:
        super().__init__()
        self._instance = instance

    def saveImpl(self, path: str) -> None:
        """Save the data first and the metadata last, so that what can be loaded is complete."""
        one, spark = self._instance, self.sparkSession
        metadata = {
            "class": f"{_HOME}.{type(one).__name__}",
            "timestamp": round(time.time() * 1000),
            "sparkVersion": spark.version,
            "uid": one.uid,
            "paramMap": {param.name: value for param, value in one._paramMap.items()},
            "defaultParamMap": {param.name: value for param, value in one._defaultParamMap.items()},
            _KEY: {"version": __version__, "format": FORMAT, **one._facts()},
        }
        try:
            text = json.dumps(metadata)
        except TypeError as error:
            raise ConfigError(f"config cannot be saved: {error}; expected values as in a YAML file") from None
        try:
            one._save_data(spark, path)
            spark.createDataFrame([(text,)], "value string").coalesce(1).write.text(f"{path}/metadata")
        except PySparkException as error:
            if "ALREADY_EXISTS" not in str(error) and "already exists" not in str(error):
                raise
            raise ConfigError(f"{path} exists already; to replace it, use write().overwrite().save(path)") from None


class _Reader(MLReader[Any]):
    def __init__(self, kind: type[Persistable]) -> None:
        super().__init__()
        self._kind = kind

    def load(self, path: str) -> Any:
        """Load an instance of the class.

        Raises:
            ConfigError: Nothing is saved there, or another class, or in a form that this version does not read.
        """
        spark, kind = self.sparkSession, self._kind.__name__
        expected = f"expected a folder that {kind}.save wrote"
        try:
            row = spark.read.text(f"{path}/metadata").first()
            metadata = json.loads(row[0] if row is not None else "{}")
        except PySparkException as error:
            raise ConfigError(f"{path} cannot be loaded: {str(error).splitlines()[0]}; {expected}") from None
        except ValueError:
            metadata = {}
        saved = str(metadata.get("class", ""))
        if not saved:
            raise ConfigError(f"{path} has no metadata of pyspark.ml; {expected}")
        if saved != f"{_HOME}.{kind}":
            raise ConfigError(f"{path} holds an instance of {saved}; load it with {saved.rpartition('.')[2]}.load")
        facts = metadata.get(_KEY) or {}
        by = f"{path} was saved by Convoy {facts.get('version', 'of an unknown version')}"
        if facts.get("format") != FORMAT:
            raise ConfigError(
                f"{by} in format {facts.get('format')}; this is Convoy {__version__}, which reads format {FORMAT}:"
                " install that version, or fit and save again with this one"
            )
        instance = self._kind()
        instance._resetUid(metadata["uid"])
        for values, set_ in (
            (metadata["paramMap"], instance._set),
            (metadata["defaultParamMap"], instance._setDefault),
        ):
            for name, value in values.items():
                if not instance.hasParam(name):
                    raise ConfigError(
                        f"{by} with the param {name!r}, which Convoy {__version__} does not have; install that version,"
                        " or fit and save again with this one"
                    )
                set_(**{name: value})
        instance._restore(spark, path, facts)
        return instance
