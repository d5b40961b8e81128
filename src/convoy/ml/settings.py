"""Params of the estimator as a configuration, and the configuration's messages in terms of params."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields

from convoy.config import Config
from convoy.config.loading import with_overrides
from convoy.errors import ConfigError, ConvoyError
from convoy.ml.params import ClassifierParams, value_of

_SECTIONS = ("dataset", "model", "training", "tracking")
_REFUSED = {
    "dataset.version": "the version is that of the DataFrame",
    "training.find_learning_rate": "a sweep makes no model: use convoy.train",
    "training.resume": "a new run is trained: use convoy.train",
}
_COLUMNS = {
    "source.columns.label": "labelCol",
    "source.columns.weight": "weightCol",
    "source.columns.split": "validationCol",
}


def config_of(params: ClassifierParams) -> Config:
    """Return the configuration that the params describe.

    No test split is held out, unless ``config`` says so: the rows that are not for training are not in the DataFrame.

    Raises:
        ConfigError: A field of ``config`` is unknown, is set by a param too, or has no effect; or a value is wrong.
    """
    given = {field: value for name, field in params.FIELDS.items() if (value := value_of(params, name)) is not None}
    further = value_of(params, "config") or {}
    by_field = {field: name for name, field in params.FIELDS.items()}
    known = {field.name for field in fields(Config)}
    for field, value in further.items():
        section = field.partition(".")[0]
        if (name := by_field.get(field)) and params.isSet(name):
            raise ConfigError(f"config has {field!r}, which {name} sets too; give one of them")
        if section in known and section not in _SECTIONS:
            raise ConfigError(
                f"config has {field!r}, which has no effect on a training from a DataFrame; expected fields of sections"
                f" {', '.join(_SECTIONS)}"
            )
        if field in _REFUSED and value not in (None, False, "latest"):
            raise ConfigError(f"config has {field!r}, {value!r}, but {_REFUSED[field]}; remove it")
    with in_params():
        return with_overrides(Config(), {"dataset.test_fraction": 0.0, **given, **further})


@contextmanager
def in_params() -> Iterator[None]:
    """Name params instead of the configuration's fields in the messages of errors that the user can fix."""
    try:
        yield
    except ConvoyError as error:
        names = {field: name for name, field in ClassifierParams.FIELDS.items()} | _COLUMNS
        pattern = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
        message = re.sub(rf"(?<![\w.'])({pattern})(?![\w.])", lambda found: names[found[1]], str(error))
        if message == str(error):
            raise
        raise type(error)(message) from error
