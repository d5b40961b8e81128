"""The chart is drawn, whatever came of the trainings, and nothing in it lies on something else."""

import io
import itertools
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.experiments.comparison import rows_of
from convoy.experiments.figures import comparison_picture, recall_picture, spread
from tests.experiments.trials import trial

pytestmark = pytest.mark.long

NAMES = ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "adam", "$8", "x" * 60, "ten"]


def drawn(rows):
    figure = comparison_picture(rows, "optimizers")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO())
    return figure


@pytest.mark.parametrize("count", [1, 2, 10])
def test_every_variant_has_its_own_curve_its_name_and_its_value(count):
    names = NAMES[:count]
    rows = rows_of([trial(name, final=0.9 + 0.009 * i) for i, name in enumerate(names)], names)
    *curves, bars = drawn(rows).axes
    for axes in curves:
        looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines if len(line.get_xdata()) == 3}
        assert len(looks) == count
    assert next(label.get_text() for label in bars.get_yticklabels()) == "sgd"  # the lowest is at the bottom
    values = {text.get_text().strip() for text in bars.texts}
    assert values == {f"{100 * (0.89 + 0.009 * i):.2f} %" for i in range(count)}


def test_names_at_the_curves_do_not_overlap():
    rows = rows_of([trial(name, final=0.95) for name in NAMES], NAMES)
    figure = drawn(rows)
    for axes in figure.axes[1:4:2]:
        heights = sorted(text.xy[1] for text in axes.texts)
        assert len(heights) == len(NAMES)
        points = axes.get_window_extent().height / figure.dpi * 72
        assert (
            min(later - earlier for earlier, later in itertools.pairwise(heights)) * points > axes.texts[0].get_size()
        )


def test_names_at_the_curves_stand_apart_from_those_at_the_bars():
    names = ["lenet5 at 0.01", "x" * 60]
    figure = drawn(rows_of([trial(name) for name in names], names))
    ends = [text.get_window_extent().x1 for axes in figure.axes[1:4:2] for text in axes.texts]
    begins = [label.get_window_extent().x0 for label in figure.axes[-1].get_yticklabels()]
    assert min(begins) - max(ends) > 1.2 * figure.axes[1].texts[0].get_size() * figure.dpi / 72  # a letter's height


def test_single_trainings_and_values_are_within_the_axes_and_apart():
    finals = {"none": (0.93, 0.953, 0.961), "oversample": (0.963, 0.964, 0.968)}
    rows = rows_of([trial(name, i, final=final) for name in finals for i, final in enumerate(finals[name])], finals)
    bars = drawn(rows).axes[-1]
    frame = bars.get_window_extent()
    for place, text in enumerate(bars.texts):
        ticks = [line.get_xdata()[0] for line in bars.lines if line.get_ydata()[0] == place]
        ends = [bars.transData.transform((value, place))[0] for value in ticks]
        assert len(ends) == 3
        extent = text.get_window_extent()
        assert frame.x0 < min(ends) < max(ends) <= extent.x0 < extent.x1 < frame.x1


@pytest.mark.parametrize(
    "trials",
    [
        [trial("a", failure="the loss is nan in epoch 2; lower the rate")],
        [trial("a", failure="nan"), trial("b")],
        [trial("a"), trial("a", 1, final=0.9), trial("a", 2, failure="nan"), trial("b", tested=False)],
        [trial("a", epochs=1, final=1.0), trial("b", epochs=40, final=0.1)],
        [trial("a", tested=False, final=0.5)],
    ],
)
def test_failures_and_gaps_are_drawn(trials):
    rows = rows_of(trials, ["a", "b"])
    texts = "".join(text.get_text() for text in drawn(rows).axes[-1].texts)
    assert ("nan" in texts) == any(trial.failure for trial in trials)


def test_an_accuracy_of_100_percent_is_drawn_at_the_edge_of_its_axis():
    figure = drawn(rows_of([trial("a", final=1.0), trial("b", final=0.9)], ["a", "b"]))
    (curve,) = [line for line in figure.axes[3].lines if line.get_marker() == "o"]
    bottom, top = figure.axes[3].get_ylim()
    assert all(bottom < value < top for value in curve.get_ydata())
    assert len(curve.get_ydata()) == 3


def test_a_loss_that_stays_at_chance_is_drawn_beside_those_that_fall_at_once():
    stuck = trial("sigmoid", final=0.1)
    stuck.history[:] = [epoch | {"val_loss": 2.3} for epoch in stuck.history]
    learns = [trial(name, final=0.99) for name in ("relu", "elu")]
    for one in learns:
        one.history[:] = [epoch | {"val_loss": 0.1 / (i + 1)} for i, epoch in enumerate(one.history)]
    rows = rows_of([stuck, *learns], ["sigmoid", "relu", "elu"])
    bottom, top = drawn(rows).axes[1].get_ylim()
    assert bottom < 0.033 < 2.3 < top


def test_a_loss_that_diverges_does_not_press_the_others_together():
    huge = trial("huge")
    huge.history[:] = [epoch | {"val_loss": 10.0 ** (5 * i)} for i, epoch in enumerate(huge.history)]
    assert drawn(rows_of([huge, trial("a"), trial("b")], ["huge", "a", "b"])).axes[1].get_ylim()[1] < 1000


def test_a_variant_that_ended_before_its_first_epoch_is_named():
    early = trial("a", failure="a rank failed")
    early.history.clear()
    figure = drawn(rows_of([early, trial("b")], ["a", "b"]))
    assert "a rank failed" in figure.axes[-1].texts[0].get_text()


@given(st.lists(st.floats(0, 1), max_size=16).map(sorted), st.floats(0.01, 0.0625))
def test_labels_are_moved_apart_and_stay_in_order_within_the_axes(heights, gap):
    placed = spread(heights, gap)
    assert all(later - earlier >= gap - 1e-9 for earlier, later in itertools.pairwise(placed))
    assert all(-1e-9 <= height <= 1 + 1e-9 for height in placed)
    free = all(later - earlier >= gap for earlier, later in itertools.pairwise(heights))
    if free:
        assert placed == heights


def test_recalls_are_drawn_with_their_values():
    rows = rows_of([trial("none", final=0.9), trial("weights", final=0.8)], ["none", "weights"])
    figure = recall_picture(rows, ["common", "rare"])
    figure.savefig(io.BytesIO())
    assert [text.get_text() for text in figure.axes[0].texts] == ["90.0", "50.0", "80.0", "50.0"]
