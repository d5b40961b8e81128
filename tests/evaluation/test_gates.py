"""Gates are read as they are meant, or refused with the nearest that there is; and they are kept."""

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.errors import ConfigError
from convoy.evaluation.gates import NotWorse, Threshold, judge, parse_gates
from convoy.evaluation.metrics import PER_CLASS, Outcomes, evaluate, overall_names

ANIMALS = ["cat", "dog", "7", "sea lion", "a[b] >= 1", "]", ">"]
SIGNS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def said(*right):
    """Outcomes of a model that is right, or says the next class, with a probability of 0.8."""
    labels = np.arange(len(right)) % 3
    right = np.array(right, bool)
    of_true = np.where(right, 0.8, 0.1)
    return Outcomes(labels, (labels + ~right) % 3, 1 - right.astype(int), of_true, np.full(len(right), 0.8))


@given(
    st.sampled_from(overall_names(5)) | st.sampled_from(PER_CLASS),
    st.sampled_from(ANIMALS) | st.text(min_size=1),
    st.sampled_from(list(SIGNS)),
    st.floats(0, 1),
    st.sampled_from(["", " ", "  "]),
)
def test_what_is_written_is_what_is_read(metric, name, sign, bound, space):
    classes = list(dict.fromkeys([*ANIMALS, name]))
    index = f"{space}[{name}]" if metric in PER_CLASS else ""
    text = f"{space}{metric}{index}{space}{sign}{space}{bound!r}{space}"
    class_index = classes.index(name) if index else None
    assert parse_gates([text], classes, 5) == [Threshold(text.strip(), metric, class_index, sign, bound)]


@given(st.text())
def test_any_other_text_is_refused_and_quoted(text):
    with pytest.raises(ConfigError) as error:
        parse_gates([text], ANIMALS, 5)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize("space", [" ", "  "])
def test_the_model_to_compare_with(space):
    text = space.join(["not", "worse", "than", "models:/digits@champion"])
    assert parse_gates([text], ANIMALS, 5) == [NotWorse(text, "models:/digits@champion")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acuracy >= 0.9", "there is no metric 'acuracy'; expected one of accuracy, top5_accuracy, log_loss"),
        ("acuracy >= 0.9", "did you mean 'accuracy'?"),
        ("top1_accuracy >= 0.9", "did you mean 'top5_accuracy'?"),
        ("f2[cat] >= 0.9", "there is no metric 'f2'"),
        ("f1[cot] >= 0.9", "no class 'cot'; it has cat, dog"),
        ("f1[cot] >= 0.9", "did you mean 'cat'?"),
        ("f1 >= 0.9", "f1 needs a class; expected f1[cat] or macro_f1"),
        ("accuracy[cat] >= 0.9", "accuracy takes no class; expected it without [cat]"),
        ("accuracy >= 98", "the bound is '98'; expected a number from 0 to 1"),
        ("log_loss <= -1", "the bound is '-1'; expected a number from 0"),
        ("log_loss <= nan", "the bound is 'nan'; expected a number from 0"),
        ("log_loss <= inf", "the bound is 'inf'"),
        ("accuracy >= high", "the bound is 'high'"),
        ("accuracy = 0.9", "is not a gate; expected e.g. 'accuracy >= 0.98'"),
        ("accuracy", "is not a gate"),
        ("", "is not a gate"),
        ("not worse than", "is not a gate"),
        ("better than models:/digits@champion", "is not a gate"),
    ],
)
def test_what_is_no_gate_is_refused_with_the_nearest(text, message):
    with pytest.raises(ConfigError) as error:
        parse_gates(["accuracy >= 0.5", text], ANIMALS, 5)
    assert message in str(error.value)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize("given", [None, []])
def test_no_gates(given):
    assert parse_gates(given, ANIMALS, 5) == []


@given(
    st.sampled_from([*overall_names(2), *(f"{name}[b]" for name in PER_CLASS)]), st.sampled_from(list(SIGNS)), st.data()
)
def test_bounds_are_kept_exactly(metric, sign, data):
    outcomes = said(*data.draw(st.lists(st.booleans(), min_size=1, max_size=12)))
    evaluation = evaluate(outcomes, 3, 2)
    values = evaluation.overall() | {f"{name}[b]": getattr(evaluation, name)[1] for name in PER_CLASS}
    bound = data.draw(st.sampled_from([0.0, 0.5, 1.0, min(1.0, values[metric])]))
    gates = parse_gates([f"{metric} {sign} {float(bound)!r}"], ["a", "b", "c"], 2)
    (finding,) = judge(gates, evaluation, outcomes, {})
    assert finding.passed == SIGNS[sign](values[metric], bound)
    assert f"{values[metric]:.6g}" in finding.found


def test_a_loss_that_is_not_finite_reaches_no_bound():
    outcomes = Outcomes(np.array([0]), np.array([0]), np.array([0]), np.array([np.nan]), np.array([np.nan]))
    gates = parse_gates(["log_loss <= 100", "log_loss >= 0"], ["a", "b"], 1)
    assert [each.passed for each in judge(gates, evaluate(outcomes, 2, 1), outcomes, {})] == [False, False]


@pytest.mark.parametrize(("lost", "passed"), [(4, True), (5, False)])
def test_a_model_that_loses_too_many_samples_is_worse(lost, passed):
    outcomes = said(*[True] * 20, *[False] * lost)
    other = outcomes.labels
    gates = parse_gates(["not worse than models:/a/1"], ["a", "b", "c"], 2)
    (finding,) = judge(gates, evaluate(outcomes, 3, 2), outcomes, {"models:/a/1": other})
    assert finding.passed is passed
    assert f"of {20 + lost} samples, only that model is right on {lost} and only this one on 0:" in finding.found


def test_where_there_is_no_champion_yet_none_is_worse():
    outcomes = said(False)
    gates = parse_gates(["not worse than models:/a@champion"], ["a", "b", "c"], 2)
    (finding,) = judge(gates, evaluate(outcomes, 3, 2), outcomes, {"models:/a@champion": None})
    assert finding.passed
    assert "does not exist yet" in finding.found
