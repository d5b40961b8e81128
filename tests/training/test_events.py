"""Events of a training, and their form on the way to the driver."""

import dataclasses
import json
import math
import typing
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy import errors
from convoy.training.events import (
    EVENT_TYPES,
    Alive,
    Epoch,
    EventError,
    Failure,
    Resumed,
    Step,
    decode,
    encode,
    from_json,
    to_json,
)

numbers = st.floats(allow_nan=False)
metrics = st.dictionaries(st.text(), numbers, max_size=5)
epochs = st.builds(Epoch, st.integers(), st.integers(), numbers, metrics)
VALUES = {
    int: st.integers(),
    float: numbers,
    str: st.text(),
    int | None: st.none() | st.integers(),
    Mapping[str, float]: metrics,
    tuple[Epoch, ...]: st.lists(epochs, max_size=3).map(tuple),
}


def events_of(kind):
    """Any event of a kind, made of the types of its fields: a kind that is added is tested as well."""
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{field.name: VALUES[hints[field.name]] for field in dataclasses.fields(kind)})


@pytest.mark.parametrize("kind", EVENT_TYPES.values())
@given(st.data())
def test_every_event_is_read_back_as_it_was(kind, data):
    event = data.draw(events_of(kind))
    assert decode(encode(event)) == event
    assert type(decode(encode(event))) is kind


def test_a_loss_that_is_not_finite_arrives():
    event = decode(encode(Step(0, 1, 1, 2, math.nan, math.inf)))
    assert math.isnan(event.loss)
    assert event.images_per_second == math.inf


def test_the_json_form_does_not_change():
    """Checkpoints contain ``epoch`` events, and a driver may outlive an executor's installation."""
    epoch = Epoch(1, 3, 61.5, {"loss": 0.5, "val_loss": 0.25})
    written = {"type": "epoch", "epoch": 1, "epochs": 3, "seconds": 61.5, "metrics": {"loss": 0.5, "val_loss": 0.25}}
    assert encode(epoch) == json.dumps(written).encode()
    assert (
        encode(Resumed(2, 0, (epoch,)))
        == json.dumps({"type": "resumed", "epoch": 2, "step": 0, "done": [written]}).encode()
    )
    assert encode(Alive()) == b'{"type": "alive"}'
    assert set(EVENT_TYPES) == {
        *("started", "step", "alive", "epoch", "rank", "system", "health", "checkpoint", "resumed", "early_stopping"),
        *("warning", "failure", "begun", "ranks", "restart"),
    }


@pytest.mark.parametrize("kind", EVENT_TYPES.values())
@given(st.data())
def test_a_field_too_many_or_missing_is_an_error_that_names_it(kind, data):
    value = to_json(data.draw(events_of(kind)))
    with pytest.raises(EventError, match=f"{kind.type}.*colour"):
        from_json({**value, "colour": 1})
    for field in dataclasses.fields(kind):
        with pytest.raises(EventError, match=f"{kind.type}.*{field.name}"):
            from_json({name: member for name, member in value.items() if name != field.name})


@pytest.mark.parametrize("value", [{"type": "lap"}, {}, [], None, 1, "alive", {"type": 1}, {"type": []}])
def test_what_is_no_event_is_refused(value):
    with pytest.raises(EventError):
        from_json(value)


@pytest.mark.parametrize("kind", [errors.TrainingError, errors.ModelError, errors.ConvoyError])
def test_an_error_that_the_user_can_fix_arrives_as_itself(kind):
    error = decode(encode(Failure.of(kind("the loss is nan")))).error()
    assert type(error) is kind
    assert str(error) == "the loss is nan"


def test_another_error_arrives_with_its_traceback():
    try:
        raise ZeroDivisionError("a bug")
    except ZeroDivisionError as error:
        failure = decode(encode(Failure.of(error)))
    assert failure.error() is None
    assert "Traceback" in failure.text
    assert "ZeroDivisionError: a bug" in failure.text


@pytest.mark.parametrize("name", ["NoSuchError", "did_you_mean", "GateFailure"])
def test_an_error_of_another_name_is_one_that_the_user_can_fix(name):
    assert type(Failure(name, "x").error()) is errors.ConvoyError
