"""Pictures of a study, drawn without a display: history, importances of the parameters, and the good values."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from convoy.tuning.board import short_names
from convoy.tuning.parameter import Parameter
from convoy.tuning.trials import TrialResult, best_of

_BLUE, _ORANGE, _GREY, _RED = "#1f6f8b", "#e07a3f", "#999999", "#cc3311"
_COLOURS = colormaps["viridis_r"]
_SHARES = (0.001, 0.01, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9998)
_EDGE = 1e-4  # smallest distance from 0 and 1 that a logit axis shows
_COLUMNS = 4
_NONE = -0.14  # position of a parameter that was not tried, below its axis of 0 to 1
_LONGEST = 12  # letters of a choice
_BESIDE = 24  # letters below an axis
_LOG_MARGIN = 1.25


def pictures_of(
    trials: Sequence[TrialResult],
    parameters: Sequence[Parameter],
    metric: str,
    importances: Mapping[str, float],
    title: str,
) -> dict[str, Figure]:
    """Draw the pictures, except those that need more complete trials than there are.

    Args:
        trials: All trials, in their order.
        parameters: The space.
        metric: ``val_accuracy`` or ``val_loss``.
        importances: Parameter -> its share of the variation of the metric.
        title: Title above each picture.

    Returns:
        Name of a file -> the picture.
    """
    complete = [one for one in trials if one.value is not None]
    found = {"history.png": _history(trials, metric)}
    if importances:
        found["importances.png"] = _importances(importances)
    if complete:
        found["slices.png"] = _slices(complete, parameters, metric)
        found["parallel_coordinates.png"] = _parallel(complete, parameters, metric)
    for figure in found.values():
        figure.suptitle(title, fontsize=11)
    return found


def _history(trials: Sequence[TrialResult], metric: str) -> Figure:
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    complete = [one for one in trials if one.value is not None]
    values = np.array([one.value for one in complete], float)
    numbers = np.array([one.number for one in complete])
    rising = metric == "val_accuracy"
    axes.plot(numbers, values, "o", color=_BLUE, markersize=5, label="complete")
    if len(complete):
        so_far = np.maximum.accumulate(values) if rising else np.minimum.accumulate(values)
        end = max(one.number for one in trials)
        axes.step([*numbers, end], [*so_far, so_far[-1]], where="post", color=_ORANGE, label=f"best: {so_far[-1]:.4f}")
    _scale(axes, values, metric)
    for state, marker, colour in (("pruned", "|", _GREY), ("failed", "x", _RED)):
        at = [one.number for one in trials if one.state == state]
        if at:  # they have no value and are drawn at the lower edge
            edge = axes.get_xaxis_transform()
            axes.plot(at, [0.025] * len(at), marker, color=colour, transform=edge, label=f"{state}: {len(at)}")
    axes.set(xlabel="trial", ylabel=_axis(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def _importances(importances: Mapping[str, float]) -> Figure:
    names = list(importances)[::-1]
    figure = Figure(figsize=(8, 1.4 + 0.42 * len(names)), layout="constrained")
    axes = figure.subplots()
    shares = [importances[name] for name in names]
    bars = axes.barh(names, shares, color=_BLUE, height=0.6)
    axes.bar_label(bars, [f"{share:.0%}" for share in shares], padding=4)
    axes.set(xlim=(0, max(shares) * 1.12), xlabel="share of the metric's variation (PED-ANOVA)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.grid(axis="x", alpha=0.3)
    return figure


def _slices(complete: Sequence[TrialResult], parameters: Sequence[Parameter], metric: str) -> Figure:
    rows = math.ceil(len(parameters) / _COLUMNS)
    columns = math.ceil(len(parameters) / rows)
    figure = Figure(figsize=(max(6.0, 3.4 * columns), 3.1 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    names = short_names([one.name for one in parameters])
    values = np.array([one.value for one in complete], float)
    best = best_of(complete, rising=metric == "val_accuracy")
    colours = Normalize(complete[0].number, max(complete[-1].number, complete[0].number + 1))
    for axes, one in zip(grid, parameters, strict=False):
        own = [trial for trial in complete if one.name in trial.values]
        x = [_place(one, trial.values[one.name]) for trial in own]
        y = [_shown(trial.value or 0.0, metric) for trial in own]
        c = [trial.number for trial in own]
        axes.scatter(x, y, c=c, cmap=_COLOURS, norm=colours, s=28, edgecolors="white", linewidths=0.5)
        if best is not None and one.name in best.values:
            at = _place(one, best.values[one.name])
            axes.plot(at, _shown(best.value or 0.0, metric), "o", markersize=11, fillstyle="none", color=_ORANGE)
        if one.choices:
            angle = 30 if sum(len(_label(choice)) for choice in one.choices) > _BESIDE else 0
            axes.set_xticks(range(len(one.choices)), [_label(choice) for choice in one.choices], rotation=angle)
            axes.set_xlim(-0.5, len(one.choices) - 0.5)
        else:
            margin = 0.04 * (one.high - one.low)
            axes.set_xlim(one.low - margin, one.high + margin)
            if one.log:
                axes.set_xscale("log")
                axes.set_xlim(one.low / _LOG_MARGIN, one.high * _LOG_MARGIN)
        axes.set_xlabel(names[one.name])
        axes.grid(alpha=0.3)
    for axes in grid[len(parameters) :]:
        axes.set_axis_off()
    for axes in grid[::columns]:
        axes.set_ylabel(_axis(metric))
    _scale(grid[0], values, metric)
    drawn = ScalarMappable(colours, _COLOURS)
    figure.colorbar(drawn, ax=list(grid), label="trial", aspect=30, ticks=MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def _parallel(complete: Sequence[TrialResult], parameters: Sequence[Parameter], metric: str) -> Figure:
    names = short_names([one.name for one in parameters])
    figure = Figure(figsize=(max(7.0, 1.9 * (len(parameters) + 1)), 4.6), layout="constrained")
    axes = figure.subplots()
    rising = metric == "val_accuracy"
    values = np.array([one.value for one in complete], float)
    earlier = np.array([-one.number for one in complete], float)  # of equal values, the first is the best
    order = np.argsort(np.lexsort((earlier, values if rising else -values)))  # 0 is the worst
    shares = order / max(1, len(complete) - 1)
    skipped = False
    for i in np.argsort(order):
        heights = [_height(one, complete[i].values) for one in parameters]
        skipped |= _NONE in heights
        is_best = order[i] == len(complete) - 1
        colour = _ORANGE if is_best else _COLOURS(shares[i])
        width = 2.4 if is_best else 1.1
        axes.plot(range(len(parameters) + 1), [*heights, shares[i]], color=colour, linewidth=width, alpha=0.9)
    note: dict[str, Any] = {
        "fontsize": 8,
        "ha": "left",
        "va": "center",
        "bbox": {"color": "white", "alpha": 0.7, "pad": 0.5},
    }
    for x, one in enumerate(parameters):
        axes.axvline(x, color="black", linewidth=0.8)
        for value in one.choices or (one.low, one.high):
            axes.text(x + 0.03, _height(one, {one.name: value}), _label(value), **note)
        if one.when and skipped:
            axes.text(x + 0.03, _NONE, "not tried", **{**note, "color": _GREY})
    axes.axvline(len(parameters), color="black", linewidth=0.8)
    for share in (0.0, 0.5, 1.0) if len(complete) > 2 else (0.0, 1.0):
        axes.text(len(parameters) + 0.03, share, f"{np.quantile(values, share if rising else 1 - share):.4f}", **note)
    axes.set_xticks(range(len(parameters) + 1), [*(names[one.name] for one in parameters), f"{metric}, by rank"])
    axes.set(yticks=[], xlim=(-0.1, len(parameters) + 0.45), ylim=(_NONE - 0.06 if skipped else -0.06, 1.06))
    for side in axes.spines.values():
        side.set_visible(False)
    return figure


def _place(parameter: Parameter, value: Any) -> float:
    """Return the position of a value on the axis of its slice."""
    return float(parameter.choices.index(value)) if parameter.choices else float(value)


def _height(parameter: Parameter, values: Mapping[str, Any]) -> float:
    """Return the relative position of a trial's value between the parameter's ends, 0 to 1; below 0 if it has none."""
    if parameter.name not in values:
        return _NONE
    at, low, high = _place(parameter, values[parameter.name]), parameter.low, parameter.high
    if parameter.choices:
        return at / (len(parameter.choices) - 1) if len(parameter.choices) > 1 else 0.5
    if parameter.log:
        at, low, high = math.log(at), math.log(low), math.log(high)
    return (at - low) / (high - low)


def _label(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return (text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…").replace("$", r"\$")


def _axis(metric: str) -> str:
    return {"val_accuracy": "validation accuracy", "val_loss": "validation loss"}[metric]


def _shown(value: float, metric: str) -> float:
    """Clip a value to the axes of ``_scale``."""
    return min(max(value, _EDGE), 1 - _EDGE) if metric == "val_accuracy" else value


def _scale(axes: Axes, values: np.ndarray, metric: str) -> None:
    """Use a logarithmic axis for losses, and a logit axis for accuracies near 1, as in experiments' charts."""
    if metric == "val_loss":
        if len(values) and values.min() > 0:
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        return
    if len(values) and values.max() >= 0.9:
        for line in axes.lines:
            line.set_ydata([_shown(value, metric) for value in np.asarray(line.get_ydata(), float)])
        odds = np.clip(values, _EDGE, 1 - _EDGE)
        odds = np.log(odds / (1 - odds))
        axes.set_yscale("logit")
        axes.yaxis.set_major_locator(FixedLocator(_SHARES))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(*(1 / (1 + math.exp(-edge)) for edge in (odds.min() - 0.4, odds.max() + 0.3)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
