"""Section ``tune.space`` -> parameters, or one line that says what is wrong with it."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.config import Config
from convoy.config.loading import parse
from convoy.errors import ConfigError
from convoy.tuning.parameter import Parameter
from convoy.tuning.space import applied, completed, grid_of, space_of

CONF = sorted(Path(__file__).parents[2].glob("conf/tune/*.yaml"))
OPTIMIZER, RATE, MOMENTUM = (f"training.optimizer.{name}" for name in ("name", "learning_rate", "momentum"))


@pytest.fixture
def space(tmp_path):
    def read(text, *arguments):
        (tmp_path / "study.yaml").write_text(f"tune: {{space: {text}}}\n")
        return space_of(parse("tune", "", ["--config", str(tmp_path / "study.yaml"), *arguments]))

    return read


def test_values_are_of_the_fields_type_also_where_yaml_reads_a_text(space):
    rate, epochs, batch, dropout = space(
        f"{{{RATE}: {{low: 1e-4, high: 1e-1, log: true}}, training.epochs: {{low: 2, high: 7, step: 2}},"
        " training.global_batch_size: {choices: [32, '64']}, model.dropout: {choices: [0, 5e-1, null]}}"
    )
    assert (rate.low, rate.high, rate.log, rate.whole) == (1e-4, 0.1, True, False)
    assert (epochs.low, epochs.high, epochs.step, epochs.whole) == (2, 6, 2, True)
    assert [type(one) for one in (epochs.low, epochs.high, *batch.choices)] == [int] * 4
    assert batch.choices == (32, 64)
    assert dropout.choices == (0.0, 0.5, None)


def test_a_parameter_comes_after_the_one_it_depends_on(space):
    found = space(
        f"{{{MOMENTUM}: {{low: 0, high: 0.9, when: {{{OPTIMIZER}: [sgd, nesterov]}}}},"
        f" {OPTIMIZER}: {{choices: [adam, sgd, nesterov]}}}}"
    )
    assert [one.name for one in found] == [OPTIMIZER, MOMENTUM]
    assert not found[1].active({OPTIMIZER: "adam"})
    assert found[1].active({OPTIMIZER: "nesterov"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "tune.space is empty"),
        ("{training.optimizer.learning_rat: {low: 1, high: 2}}", f"did you mean '{RATE}'"),
        ("{training.optimizer: {low: 1, high: 2}}", "did you mean 'training.optimizer.name'"),
        (f"{{{RATE}: {{low: 0.1, high: 0.1}}}}", f"{RATE} has an empty range, from 0.1 to 0.1"),
        (f"{{{RATE}: {{low: 1, high: 0.1}}}}", "empty range, from 1 to 0.1"),
        (f"{{{RATE}: {{low: 0, high: 1, log: true}}}}", "log with low 0; expected a low above 0"),
        (f"{{{RATE}: {{low: 0, high: 1}}}}", f"{RATE} is 0.0; expected a number greater than 0"),
        (f"{{{RATE}: {{low: x, high: 1}}}}", "has low 'x'; expected a number"),
        (f"{{{RATE}: {{high: 1}}}}", "has low None; expected a number"),
        (f"{{{RATE}: {{low: 1, high: 2, step: 3}}}}", "has step 3; expected a number up to high - low"),
        (f"{{{RATE}: {{low: 1, high: 2, step: 1, log: true}}}}", "has log and step; expected one of them"),
        (f"{{{RATE}: {{low: 1, high: 2, steps: 1}}}}", "has 'steps'; did you mean 'step'?"),
        (f"{{{RATE}: {{low: 1, high: 2, choices: [1]}}}}", "has choices and a range"),
        (f"{{{RATE}: {{choices: []}}}}", "has choices []; expected a list of values"),
        (f"{{{RATE}: {{choices: [0.1, 1e-1]}}}}", "has [0.1] twice"),
        ("{training.epochs: {low: 1.5, high: 2}}", "has low 1.5; expected a whole number"),
        (f"{{{OPTIMIZER}: {{low: 1, high: 2}}}}", "has no choices; expected choices, as the field takes sgd"),
        (f"{{{OPTIMIZER}: {{choices: [adam, adm]}}}}", f"{OPTIMIZER} is 'adm'; expected sgd"),
        ("{training.num_workers: {choices: [1, 2]}}", "training.num_workers is the same for all trials"),
        ("{training.checkpoint.keep: {low: 1, high: 2}}", "training.checkpoint.keep is the same for all trials"),
        ("{dataset.name: {choices: [a, b]}}", "dataset.name is the same for all trials"),
        (f"{{{MOMENTUM}: {{low: 0, high: 0.9}}}}", "momentum is 0.0; expected null with adam"),
        (
            "{training.epochs: {low: 1, high: 5}, training.schedule.warmup_epochs: {low: 0, high: 3}}",
            "training.schedule.warmup_epochs is 3.0; expected at most training.epochs, 1",
        ),
        (
            f"{{{OPTIMIZER}: {{choices: [sgd, adam]}}, {MOMENTUM}: {{choices: [null, 0.9]}}}}",
            f"{OPTIMIZER} adam with {MOMENTUM} 0.9",
        ),
        (
            f"{{{RATE}: {{low: 1, high: 2, when: {{{OPTIMIZER}: sgd}}}}}}",
            f"depends on {OPTIMIZER}, which is not in the",
        ),
        (
            f"{{{OPTIMIZER}: {{choices: [sgd]}}, {RATE}: {{low: 1, high: 2, when: {{{OPTIMIZER}: adam}}}}}}",
            f"depends on {OPTIMIZER} being 'adam'; expected one of its choices ['sgd']",
        ),
        (
            "{training.epochs: {choices: [1], when: {training.seed: 1}}, training.seed: {choices: [1], when:"
            " {training.epochs: 1}}}",
            "training.epochs and training.seed depend on each other",
        ),
    ],
)
def test_what_is_wrong_with_a_space_is_one_line(space, text, said):
    with pytest.raises(ConfigError) as error:
        space(text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_grid_needs_an_end_of_values(space):
    with pytest.raises(ConfigError, match="learning_rate has infinitely many values; a grid needs a step, or choices"):
        space(f"{{{RATE}: {{low: 1, high: 2}}}}", "--tune.sampler", "grid")
    (rate,) = space(f"{{{RATE}: {{low: 0.1, high: 0.45, step: 0.1}}}}", "--tune.sampler", "grid")
    assert rate.grid == (0.1, 0.2, 0.3, 0.4)


def test_values_are_applied_together_and_nothing_else_changes():
    config = applied(Config(), {OPTIMIZER: "sgd", MOMENTUM: 0.5, "model.dropout": 0.25})
    assert (config.training.optimizer.name, config.training.optimizer.momentum) == ("sgd", 0.5)
    assert applied(config, {OPTIMIZER: "adam", MOMENTUM: None, "model.dropout": None}) == Config()


@st.composite
def spaces(draw):
    """Choices and ranges, each on the condition of some value of one before it."""
    found = []
    for i in range(draw(st.integers(1, 4))):
        when = {}
        if (parents := [one for one in found if one.choices]) and draw(st.booleans()):
            parent = draw(st.sampled_from(parents))
            when = {parent.name: tuple(draw(st.sets(st.sampled_from(parent.choices), min_size=1)))}
        if draw(st.booleans()):
            found.append(Parameter(f"p{i}", choices=tuple(range(draw(st.integers(1, 3)))), when=when))
        else:
            high = draw(st.integers(1, 4))
            found.append(Parameter(f"p{i}", low=0, high=high, whole=True, when=when))
    return found


@given(spaces())
def test_a_grid_has_every_point_once_and_no_other(space):
    points = [tuple(sorted(point.items())) for point in grid_of(space)]
    assert len(set(points)) == len(points)
    wanted = set()
    for values in itertools.product(*(one.grid for one in space)):
        point = {}
        for one, value in zip(space, values, strict=True):
            if one.active(point):
                point[one.name] = value
        wanted.add(tuple(sorted(point.items())))
    assert set(points) == wanted


@given(spaces(), st.data())
def test_a_completed_point_is_one_of_the_space_with_the_given_value(space, data):
    one = data.draw(st.sampled_from(space))
    value = data.draw(st.sampled_from(one.grid))
    point = completed(space, {one.name: value})
    possible = [dict(found) for found in grid_of(space) if found.get(one.name) == value]
    assert (point in possible) if point is not None else True
    if not any(parent.when for parent in space if parent.name in one.when):
        assert point is not None


@pytest.mark.parametrize("file", CONF, ids=lambda file: file.stem)
def test_the_projects_spaces_are_right(file):
    assert len(space_of(parse("tune", "", ["--config", str(file)]))) > 3


def test_the_project_has_spaces():
    assert [file.stem for file in CONF] == ["digits", "mnist"]
