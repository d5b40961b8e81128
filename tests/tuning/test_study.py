"""A study: what is tried, when it ends, how it goes on, and whose it is."""

import math
import subprocess
import sys
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.config import Config, TuneConfig
from convoy.errors import ConfigError
from convoy.tuning.parameter import Parameter
from convoy.tuning.space import grid_of
from convoy.tuning.storage import open_study
from convoy.tuning.trials import State, TrialResult, best_of, reason_to_end, since_best

pytestmark = pytest.mark.long

RATE = Parameter("training.optimizer.learning_rate", low=1e-4, high=0.1, log=True)
NAME = Parameter("training.optimizer.name", choices=("adam", "sgd"))
MOMENTUM = Parameter("training.optimizer.momentum", low=0.0, high=0.9, when={NAME.name: ("sgd",)})
SPACE = (NAME, RATE, MOMENTUM)


@pytest.fixture
def opened(tmp_path):
    def opened(parameters=SPACE, fingerprint="abc", config=None, **fields):
        storage = f"sqlite:///{tmp_path}/studies.db"
        tune = TuneConfig(**{"pruner": "none", "storage": storage, "study": "s", **fields})
        return open_study(replace(config or Config(), tune=tune), parameters, fingerprint)

    return opened


def value_of(values):
    return 1 - abs(math.log10(values[RATE.name]) + 2) / 4


def go(study, count, until=lambda asked: True):
    """Run trials to their end; the last of them stays as it is where ``until`` says so."""
    for _ in range(count):
        asked = study.ask()
        study.report(asked.number, 0, value_of(asked.values))
        if not until(asked):
            return asked
        study.tell(asked.number, "complete", value_of(asked.values))
    return asked


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_trials_lie_in_the_space_and_a_restart_changes_nothing(opened, sampler):
    with opened(sampler=sampler) as study:
        go(study, 8)
        whole = study.trials()
    for one in whole:
        assert RATE.low <= one.values[RATE.name] <= RATE.high
        assert (MOMENTUM.name in one.values) == (one.values[NAME.name] == "sgd")
    for count in (3, 5):
        with opened(sampler=sampler, study="cut") as study:
            go(study, count)
            cut = study.trials()
    assert [one.values for one in cut] == [one.values for one in whole]
    assert [one.value for one in cut] == [one.value for one in whole]


def test_another_seed_draws_other_values(opened):
    found = []
    for seed in (0, 1):
        with opened(study=f"seed {seed}", seed=seed) as study:
            found.append(study.ask().values)
    assert found[0] != found[1]


def test_trials_that_were_cut_short_are_tried_again_and_not_counted(opened):
    with opened() as study:
        cut = go(study, 3, until=lambda asked: asked.number < 2)
    with opened() as study:
        assert study.revive() == 1
        assert [one.number for one in study.trials()] == [0, 1]
        again = study.ask()
        assert (again.number, again.values) == (3, cut.values)
        study.tell(3, "complete", 0.5)
        assert study.ask().values != cut.values
        assert [one.state for one in study.trials()] == ["complete", "complete", "complete", "running"]


def test_a_grid_tries_every_point_once_also_one_that_was_cut_short(opened):
    rate = Parameter(RATE.name, choices=(0.1, 0.01))
    momentum = replace(MOMENTUM, high=0.5, step=0.5)
    space = (NAME, rate, momentum)
    points = [dict(point) for point in grid_of(space)]
    assert len(points) == 6
    with opened(space, sampler="grid", trials=None) as study:
        go(study, 2, until=lambda asked: asked.number < 1)
    with opened(space, sampler="grid", trials=None) as study:
        study.revive()
        go(study, 5)
        assert study.ask() is None
        tried = [one.values for one in study.trials()]
    assert sorted(tried, key=str) == sorted(points, key=str)


def test_choices_may_be_lists_and_nothing_at_all(opened):
    layers = Parameter("model.layers", choices=(["flatten", {"dense": {"units": 3}}], None))
    with opened((layers,), sampler="grid") as study:
        asked = [study.ask().values["model.layers"] for _ in range(2)]
        assert asked == list(layers.choices)
        assert [one.values["model.layers"] for one in study.trials()] == asked


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"parameters": (NAME, replace(RATE, high=0.2), MOMENTUM)},
            "its tune.space of training.optimizer.learning_rate",
        ),
        ({"parameters": (NAME, RATE)}, "its tune.space of training.optimizer.momentum is"),
        ({"metric": "val_loss"}, "its tune.metric is 'val_accuracy', but here it is 'val_loss'"),
        ({"fingerprint": "def"}, "its dataset.fingerprint is 'abc'"),
        ({"epochs": 7}, "its training.epochs is 5, but here it is 7"),
    ],
)
def test_a_study_of_something_else_is_refused_in_one_line(opened, changes, said):
    with opened():
        pass
    if "epochs" in changes:
        config = Config()
        changes = {"config": replace(config, training=replace(config.training, epochs=changes["epochs"]))}
    with pytest.raises(ConfigError) as error, opened(**changes):
        pass
    assert "study 's' in sqlite:///" in str(error.value)
    assert said in str(error.value)
    assert "--tune.study" in str(error.value)
    assert "\n" not in str(error.value)


def test_how_trials_run_does_not_make_it_another_study(opened):
    with opened() as study:
        go(study, 1)
    config = Config()
    config = replace(config, training=replace(config.training, num_workers=0, max_restarts=5))
    with opened(config=config, sampler="random", trials=40, parallel=3, pruner="median") as study:
        assert len(study.trials()) == 1


def test_a_study_that_another_process_works_on_is_refused(opened, tmp_path):
    hold = (
        f"import fcntl, sys; f = open({str(tmp_path)!r} + '/.studies.db.s.lock', 'ab'); fcntl.flock(f, fcntl.LOCK_EX);"
    )
    code = hold + "print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(ConfigError, match="is in use by another process"), opened():
            pass
        with opened(study="another"):
            pass
        other.stdin.close()
    with opened():
        pass


def test_a_storage_that_cannot_be_opened_is_one_line(opened, tmp_path):
    (tmp_path / "text.db").write_text("no database\n" * 100)
    with (
        pytest.raises(ConfigError, match=r"tune.storage .* cannot be opened"),
        opened(storage=f"sqlite:///{tmp_path}/text.db"),
    ):
        pass
    with (
        pytest.raises(ConfigError, match="cannot be written to: "),
        opened(storage=f"sqlite:///{tmp_path}/text.db/studies.db"),
    ):
        pass


@pytest.mark.parametrize("pruner", ["median", "halving", pytest.param("hyperband", marks=pytest.mark.long)])
def test_what_is_bad_after_an_epoch_is_pruned_and_the_best_is_not(opened, pruner):
    config = replace(Config(), training=replace(Config().training, epochs=9))
    ended = []
    with opened(config=config, pruner=pruner, sampler="random", trials=20) as study:
        for i in range(20):
            asked, quality = study.ask(), (i * 7 % 20) / 20
            for epoch in range(9):
                if study.report(asked.number, epoch, quality * (epoch + 1) / 9) and epoch < 8:
                    ended.append(study.tell(asked.number, "pruned"))
                    break
            else:
                ended.append(study.tell(asked.number, "complete", quality))
        pruned = [one for one in ended if one.state == "pruned"]
        assert 3 <= len(pruned) < 20
        assert all(one.value is None and 1 <= one.epochs < 9 for one in pruned)
        assert study.best().value == pytest.approx(19 / 20)


outcomes = st.lists(
    st.one_of(st.just(("failed", None)), st.just(("pruned", None)), st.tuples(st.just("complete"), st.floats(0, 1))),
    max_size=12,
).map(lambda found: [TrialResult(i, {}, cast(State, state), value) for i, (state, value) in enumerate(found)])


@given(outcomes, st.booleans())
def test_the_best_is_the_first_of_the_best(trials, rising):
    best = best_of(trials, rising=rising)
    values = [one.value for one in trials if one.value is not None]
    if best is None:
        assert values == []
        assert since_best(trials, rising=rising) == len(trials)
    else:
        assert best.value == (max if rising else min)(values)
        assert all(one.value != best.value for one in trials[: best.number])
        assert since_best(trials, rising=rising) == len(trials) - 1 - best.number


@given(outcomes, st.integers(1, 12), st.one_of(st.none(), st.integers(1, 5)), st.floats(0, 120))
def test_a_study_ends_by_the_limits_that_are_set_and_by_no_other(trials, count, patience, seconds):
    config = TuneConfig(trials=count, patience=patience, minutes=1.0)
    reason = reason_to_end(config, trials, seconds)
    waited = patience is not None and since_best(trials, rising=True) >= patience
    assert (reason is not None) == (len(trials) >= count or seconds >= 60 or waited)
    assert reason_to_end(TuneConfig(trials=None, minutes=9.0), trials, seconds) is None


def test_importances_need_some_trials_and_sum_to_one(opened):
    with opened() as study:
        go(study, 3)
        assert study.importances() == {}
        go(study, 9)
        assert sum(study.importances().values()) == pytest.approx(1)
        assert max(study.importances(), key=study.importances().get) == RATE.name
