"""Results of workflows: their fields are the JSON line, also back from it."""

import dataclasses

import pytest

import convoy
from convoy.workflows.results import EvaluationResult, PipelineResult, ScoreResult, TrainResult

TRAINED = TrainResult(
    "r1", "1", "models:/digits/3", "3", {"epochs": 2, "val_loss": 0.5}, 1.5, {0: {"loss": 1.0}, 1: {"loss": 0.5}}
)
EVALUATED = EvaluationResult("r1", "models:/digits/3", "v1", "test", {"rows": 7, "accuracy": 0.5}, 2.0)
SCORED = ScoreResult("models:/digits/3", "/scores", 3.0, {"rows": 7, "errors": 1})


def test_the_json_line_has_the_metrics_beside_the_other_fields():
    assert list(TRAINED.to_json()) == [
        *("run_id", "experiment_id", "model_uri", "model_version", "epochs", "val_loss", "seconds")
    ]
    assert TRAINED.to_json()["val_loss"] == 0.5


def test_a_sweep_has_no_model():
    sweep = TrainResult("r1", "1", None, None, {"suggested_learning_rate": 0.1}, 1.0)
    assert list(sweep.to_json()) == ["run_id", "experiment_id", "suggested_learning_rate", "seconds"]
    assert sweep.history.empty


def test_what_is_read_back_is_what_was_written():
    assert TrainResult.from_json(TRAINED.to_json(), TRAINED.epochs) == TRAINED
    assert EvaluationResult.from_json(EVALUATED.to_json()) == EVALUATED
    promoted = EvaluationResult(**{**vars(EVALUATED), "passed": True, "gates": [{"gate": "x"}], "champion": "3"})
    assert promoted.to_json()["previous"] is None
    assert EvaluationResult.from_json(promoted.to_json()) == promoted
    assert ScoreResult.from_json(SCORED.to_json()) == SCORED


def test_the_history_has_a_row_for_each_epoch():
    assert TRAINED.history.index.tolist() == [1, 2]
    assert TRAINED.history["loss"].tolist() == [1.0, 0.5]


def test_results_are_shown_field_by_field():
    assert "model_uri: models:/digits/3" in repr(TRAINED)
    assert "<td style='text-align:left'>models:/digits/3</td>" in TRAINED._repr_html_()
    named = dataclasses.replace(TRAINED, model_uri="models:/<b>&/3")
    assert "models:/&lt;b&gt;&amp;/3</td>" in named._repr_html_()
    pipeline = PipelineResult(None, TRAINED, EVALUATED, SCORED, ["train"], 9.0)
    assert list(pipeline.to_json()) == ["train", "evaluate", "score", "skipped", "seconds"]


def test_the_package_lists_what_it_offers():
    assert {"load", "train", "score_images", "petastorm"} <= set(dir(convoy))
    with pytest.raises(AttributeError, match="trian"):
        convoy.trian  # noqa: B018


def test_nested_fields_are_tables_in_a_notebook():
    drift = {
        "brightness": {"psi": 0.5, "rows": 7, "drifted": True},
        "height": {"psi": None, "rows": 7, "reason": "few"},
    }
    page = dataclasses.replace(SCORED, summary={**SCORED.summary, "drift": drift})._repr_html_()
    assert "<th style='text-align:left'>drifted</th>" in page
    assert "<td style='text-align:left'>brightness</td><td style='text-align:left'>0.5</td>" in page
    classes = {f"class {number}": 1 for number in range(500)}
    assert "and 480 more" in dataclasses.replace(SCORED, summary={"classes": classes})._repr_html_()


def test_intervals_are_beside_their_metrics_in_a_notebook():
    measured = dataclasses.replace(
        EVALUATED, metrics={"rows": 7, "accuracy": 0.5, "intervals": {"accuracy": [0.25, 0.75]}}
    )
    assert "0.5000 (95 % interval: 0.2500 to 0.7500)" in measured._repr_html_()
    assert "intervals" not in measured._repr_html_()
