"""Signatures: equal for equal data and settings, different for anything that changes the result."""

from types import SimpleNamespace

import pytest

from convoy.config.loading import load
from convoy.workflows.signatures import input_states, of_evaluation, of_scoring, of_training

DATA = SimpleNamespace(version="v1", fingerprint="f1")


def scoring(config):
    return of_scoring(config, "models:/a/1", input_states(config))


def training(data=DATA, **fields):
    return of_training(load(None, {name.replace("__", "."): value for name, value in fields.items()}), data)


def test_what_changes_no_result_changes_no_signature():
    assert training() == training(training__stall_timeout=7.0, training__checkpoint__keep=5, tracking__experiment="x")


@pytest.mark.parametrize(
    "fields",
    [{"training__seed": 1}, {"model__name": "mlp"}, {"training__augmentation__flip": "horizontal"}],
)
def test_settings_count(fields):
    assert training(**fields) not in (training(), None)


def test_data_counts():
    assert training(SimpleNamespace(version="v1", fingerprint="f2")) != training()


@pytest.mark.parametrize(
    "fields",
    [{"model__name": "own.py:network"}, {"model__initial_weights": "models:/x/1"}, {"training__resume": "abc"}],
)
def test_what_depends_on_more_than_the_configuration_has_none(fields):
    assert training(**fields) is None


def test_an_evaluation_is_of_a_model_a_split_and_its_gates():
    config = load(None)
    first = of_evaluation(config, "models:/a/1", DATA)
    assert first == of_evaluation(load(None, {"scoring.top_k": 3}), "models:/a/1", DATA)
    assert first != of_evaluation(config, "models:/a/2", DATA)
    assert first != of_evaluation(load(None, {"evaluation.gates": ["accuracy >= 0.5"]}), "models:/a/1", DATA)


def test_a_scoring_is_of_its_files_and_what_it_wrote(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"a")
    (tmp_path / "out" / "part.parquet").write_bytes(b"x")
    config = load(None, {"scoring.input": str(tmp_path / "in"), "scoring.output": str(tmp_path / "out")})
    first = scoring(config)
    assert first == scoring(config)
    assert first is not None
    (tmp_path / "in" / "b.png").write_bytes(b"b")
    second = scoring(config)
    assert second != first
    (tmp_path / "out" / "part.parquet").unlink()
    assert scoring(config) not in (first, second)


def test_tables_and_streams_have_none(tmp_path):
    given = {"scoring.input": str(tmp_path), "scoring.output": str(tmp_path)}
    assert scoring(load(None, {**given, "scoring.output": "table:t"})) is None
    assert scoring(load(None, {**given, "scoring.input": "table:t"})) is None
    assert scoring(load(None, {**given, "scoring.stream": True})) is None


def test_a_file_that_comes_while_others_are_scored_is_not_taken_for_scored(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"a")
    config = load(None, {"scoring.input": str(tmp_path / "in"), "scoring.output": str(tmp_path / "out")})
    before = input_states(config)
    (tmp_path / "in" / "b.png").write_bytes(b"b")
    assert of_scoring(config, "models:/a/1", before) != scoring(config)


def test_what_is_stated_about_a_model_counts_by_its_content(tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")

    def evaluation(**fields):
        given = {f"scoring.{name}": value for name, value in fields.items()}
        return of_evaluation(load(None, given), "runs:/1/model", DATA)

    stated = evaluation(classes=str(labels))
    assert evaluation() == evaluation(batch_size=7)
    assert len({evaluation(), stated, evaluation(preprocessing="0..1"), evaluation(head="logits")}) == 4
    assert stated == evaluation(classes=["cat", "dog"])
    labels.write_text("dog\ncat\n")
    assert stated != evaluation(classes=str(labels))


def test_automatic_preprocessing_of_a_published_network_is_that_of_the_dataset():
    assert training() == training(model__preprocessing="dataset") != training(model__preprocessing="none")
