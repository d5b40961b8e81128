"""Aliases move in a real registry, and nowhere else than they should."""

import importlib
import json

import mlflow
import pytest

from convoy.errors import TrackingError
from convoy.tracking import connection
from convoy.tracking.promotion import GATE_TAG, AliasState, load_champion, promote, record_gates, rollback
from tests.logged import connect


@pytest.fixture
def client(tmp_path):
    """A registry with three versions of the model ``digits``, of one run."""
    connect(tmp_path)
    client = mlflow.MlflowClient()
    client.create_registered_model("digits")
    run_id = client.create_run(connection.experiment_id("e")).info.run_id
    for _ in range(3):
        client.create_model_version("digits", (tmp_path / "model").as_uri(), run_id=run_id)
    return client


def aliases(client):
    return {alias: str(version) for alias, version in client.get_registered_model("digits").aliases.items()}


def test_the_champion_so_far_becomes_the_previous_one(client):
    assert promote("models:/digits/1") == AliasState("digits", "1", None, True)
    assert aliases(client) == {"champion": "1"}
    assert promote("models:/digits/latest") == AliasState("digits", "3", "1", True)
    assert aliases(client) == {"champion": "3", "previous": "1"}
    assert promote("models:/digits@champion") == AliasState("digits", "3", "1", False)
    assert promote("models:/digits/2") == AliasState("digits", "2", "3", True)
    assert aliases(client) == {"champion": "2", "previous": "3"}


def test_rolling_back_twice_changes_nothing(client):
    promote("models:/digits/1")
    promote("models:/digits/2")
    assert rollback("digits") == AliasState("digits", "1", "2", True)
    assert aliases(client) == {"champion": "1", "previous": "2"}
    assert rollback("digits") == AliasState("digits", "2", "1", True)
    assert aliases(client) == {"champion": "2", "previous": "1"}


def test_other_aliases_stay(client):
    client.set_registered_model_alias("digits", "candidate", "2")
    promote("models:/digits@candidate")
    assert aliases(client) == {"candidate": "2", "champion": "2"}


@pytest.mark.parametrize(
    ("move", "message"),
    [
        (lambda run: promote("models:/digits/4"), "model 'digits' has no version 4; it has 1, 2, 3"),
        (lambda run: promote("models:/digit/1"), "no model 'digit' is registered; there are digits; did you mean"),
        (
            lambda run: promote(f"runs:/{run}/model"),
            "is not a version of a registered model; expected e.g. models:/digits/3",
        ),
        (lambda run: promote("digits"), "is not a model URI"),
        (lambda run: rollback("digit"), "no model 'digit' is registered; there are digits; did you mean 'digits'?"),
        (lambda run: rollback("it's"), "is registered; there are digits"),
        (lambda run: rollback("digits"), "it needs the aliases champion and previous, and has none"),
    ],
)
def test_what_cannot_be_moved_is_said_and_nothing_moves(client, move, message):
    run = client.get_model_version("digits", "1").run_id
    with pytest.raises(TrackingError) as error:
        move(run)
    assert message in str(error.value)
    assert aliases(client) == {}


def test_no_way_back_to_a_version_that_was_deleted_or_never_was(client):
    promote("models:/digits/1")
    with pytest.raises(TrackingError, match=r"and has champion \(1\); promote a version instead"):
        rollback("digits")
    promote("models:/digits/2")
    client.delete_model_version("digits", "1")
    with pytest.raises(TrackingError):
        rollback("digits")
    assert aliases(client)["champion"] == "2"


def test_passing_promotes_and_failing_leaves_the_champion(client):
    run_id = client.get_model_version("digits", "1").run_id

    def tags(version):
        run = client.get_run(run_id).data.tags[GATE_TAG]
        return run, client.get_model_version("digits", version).tags[GATE_TAG]

    assert record_gates("models:/digits/1", run_id, None) == AliasState("digits", "1", None, True)
    assert tags("1") == ("passed", "passed")
    assert record_gates("models:/digits/2", run_id, "accuracy >= 0.9: it is 0.1") is None
    assert tags("2") == ("failed: accuracy >= 0.9: it is 0.1",) * 2
    assert aliases(client) == {"champion": "1"}
    assert record_gates("models:/digits/2", run_id, "x" * 100_000) is None  # more than a tag of a run takes
    assert record_gates(f"runs:/{run_id}/model", run_id, None) is None
    assert client.get_run(run_id).data.tags[GATE_TAG] == "passed"
    assert aliases(client) == {"champion": "1"}


def test_only_a_champion_may_be_missing(client):
    assert load_champion("models:/digits@champion") is None
    for uri in ("models:/digits@champoin", "models:/digits/9", "models:/digit@champion"):
        with pytest.raises(TrackingError):
            load_champion(uri)


@pytest.fixture
def command(client, tmp_path, capsys):
    def run(job, *arguments):
        """Returns (exit status, the JSON line or None, what people read)."""
        arguments = [*arguments, "--tracking.uri", f"sqlite:///{tmp_path}/mlflow.db"]
        status = importlib.import_module(f"jobs.{job}").main(arguments)
        captured = capsys.readouterr()
        return status, json.loads(captured.out) if captured.out else None, captured.err

    return run


def test_the_commands(client, command):
    status, result, text = command("promote", "--model", "models:/digits/1")
    expected = {"job": "promote", "model": "digits", "champion": "1", "previous": None, "moved": True}
    assert (status, result, text) == (0, expected, "promote: champion of digits is version 1\n")
    command("promote", "--model=models:/digits/2")
    status, result, text = command("rollback", "--model", "digits")
    expected = {"job": "rollback", "model": "digits", "champion": "1", "previous": "2", "moved": True}
    assert (status, result, text) == (0, expected, "rollback: champion of digits is version 1 (previous: 2)\n")
    assert aliases(client) == {"champion": "1", "previous": "2"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote"], "error: --model is missing; expected a version of a registered model"),
        (["rollback"], "error: --model is missing; expected the name of a registered model"),
        (["promote", "--model", "models:/digits/7"], "error: models:/digits/7: model 'digits' has no version 7"),
        (["rollback", "--model", "digits"], "error: model 'digits' cannot be rolled back"),
        (["promote", "--modle", "models:/digits/1"], "error: unknown field 'modle'"),
    ],
)
def test_a_command_that_cannot_be_done_is_one_line(command, arguments, message):
    status, result, text = command(*arguments)
    assert (status, result) == (2, None)
    assert text.startswith(message)
    assert text.count("\n") == 1
