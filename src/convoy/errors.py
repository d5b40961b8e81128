"""What can go wrong that the user can mend.

Every ``ConvoyError`` becomes one line on stderr and exit status 2 (see ``convoy.cli``). The message says
what was given, what was expected and how to mend it; it never needs a traceback to be understood.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class ConvoyError(Exception):
    """Base of everything that the user can mend."""


class ConfigError(ConvoyError):
    """A field of the configuration is unknown, of the wrong type, or at odds with another."""


class SourceError(ConvoyError):
    """The images that were pointed at are missing, empty or unusable."""


class DatasetError(ConvoyError):
    """A dataset or one of its versions is missing, damaged or does not fit."""


class ModelError(ConvoyError):
    """A network is unknown, or its layers do not fit the images."""


class ClusterError(ConvoyError):
    """Spark cannot run what was asked for: no Java, or too few slots."""


class TrackingError(ConvoyError):
    """MLflow does not answer, or does not hold what was asked for."""


class TrainingError(ConvoyError):
    """Training cannot go on for a reason in the data or the settings."""


class GateFailure(Exception):
    """A model was measured, and is not good enough: nothing to mend in what was given; exit status 3.

    Args:
        reasons: Why.
        result: The fields of the job's JSON line, which is printed all the same.
    """

    def __init__(self, reasons: str, result: Mapping[str, Any]) -> None:
        super().__init__(reasons)
        self.result = dict(result)


class TrainingStopped(Exception):
    """A training was stopped on purpose, e.g. a pruned trial; this is not a failure."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known name, or an empty string."""
    nearest = difflib.get_close_matches(given, list(known), n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
