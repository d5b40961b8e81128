"""Errors that the user can fix.

Every ``ConvoyError`` becomes one line on stderr and exit status 2 (see ``convoy.cli``). The message says
what was given, what was expected and how to fix it; it can be understood without a traceback.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class ConvoyError(Exception):
    """Base class of all errors that the user can fix."""


class ConfigError(ConvoyError):
    """A field of the configuration is unknown, has the wrong type, or conflicts with another."""


class SourceError(ConvoyError):
    """The configured source of images is missing, empty or unusable."""


class DatasetError(ConvoyError):
    """A dataset or one of its versions is missing, damaged or does not fit."""


class ModelError(ConvoyError):
    """A network is unknown, or its layers do not fit the images."""


class ClusterError(ConvoyError):
    """Spark cannot run the job: there is no Java, or there are too few slots."""


class TrackingError(ConvoyError):
    """MLflow does not respond, or does not have the requested object."""


class TrainingError(ConvoyError):
    """Training cannot continue because of the data or the settings."""


class GateFailure(Exception):
    """A model was evaluated and fails its gates; the input is valid. Exit status 3.

    Args:
        reasons: The gates that failed, as text.
        result: The fields of the job's JSON line, which is printed nevertheless.
    """

    def __init__(self, reasons: str, result: Mapping[str, Any]) -> None:
        super().__init__(reasons)
        self.result = dict(result)


class TrainingStopped(Exception):
    """Training was stopped on purpose, e.g. in a pruned trial; this is not a failure."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known name, or an empty string."""
    nearest = difflib.get_close_matches(given, list(known), n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
