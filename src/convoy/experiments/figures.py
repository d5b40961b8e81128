"""The chart of an experiment: curves of all variants over the epochs, and their final accuracies."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from convoy.experiments.comparison import Row

# After Paul Tol's "bright" and "vibrant" colours; the first seven are the easiest to distinguish.
_COLOURS = (
    "#4477aa",
    "#cc3311",
    "#228833",
    "#d0a010",
    "#aa3377",
    "#33bbee",
    "#333333",
    "#ee7733",
    "#009988",
    "#bb99dd",
)
_LINES = ("-", "--", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
_SHARES = (0.001, 0.01, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9998)
_EDGE = 1e-4  # smallest distance from 0 and 1 that a logit axis shows
_LABEL_GAP = 0.062  # between two labels, as a share of the axes' height
_REASON = 52  # characters per line
_FEW = 5
_DIVERGED = 100  # times the usual first loss; a training that stays at chance is far below


def comparison_picture(rows: Sequence[Row], title: str) -> Figure:
    """Draw loss and accuracy of training and validation, and the final accuracies.

    If trainings were repeated, lines are means over them and bands reach from the lowest to the highest.

    Args:
        rows: The variants; of failed ones the existing epochs are drawn, and the reason takes the place of the final
            value.
        title: Title above the picture.
    """
    apart = ConstrainedLayoutEngine(w_pad=0.12)  # inches: names at the curves' ends are next to those of the bars
    figure = Figure(figsize=(15, 7.6), layout=apart)
    figure.suptitle(title, fontsize=13)
    grid = figure.add_gridspec(2, 3, width_ratios=(1, 1.25, 1.15))
    styles = [_style(i) for i in range(len(rows))]
    for line, metric in enumerate(("loss", "accuracy")):
        pair = [figure.add_subplot(grid[line, column]) for column in (0, 1)]
        for axes, name, split in zip(pair, (metric, f"val_{metric}"), ("training", "validation"), strict=True):
            ends = [_curve(axes, row, name, style) for row, style in zip(rows, styles, strict=True)]
            axes.set(title=f"{split} {metric}", xlabel="epoch" if metric == "accuracy" else "")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.grid(alpha=0.25)
            if split == "validation":
                labelled = ends
        for axes, name in zip(pair, (metric, f"val_{metric}"), strict=True):
            values = np.concatenate([np.asarray(drawn.get_ydata(), float) for drawn in axes.lines] or [np.empty(0)])
            (_scale_loss if metric == "loss" else _scale_accuracy)(axes, values, rows, name)
        _label(pair[1], rows, styles, labelled)
    _final(figure.add_subplot(grid[:, 2]), rows, styles)
    return figure


def _style(index: int) -> dict[str, Any]:
    count = len(_COLOURS)
    return {
        "color": _COLOURS[index % count],
        "linestyle": _LINES[index // count % len(_LINES)],
        "marker": _MARKERS[index % len(_MARKERS)],
    }


def _curve(axes: Axes, row: Row, name: str, style: Mapping[str, Any]) -> tuple[float, float] | None:
    """Draw one variant's curve; return its end."""
    longest = max((len(trial.history) for trial in row.trials), default=0)
    values = np.full((len(row.trials), longest), np.nan)
    for line, trial in zip(values, row.trials, strict=True):
        line[: len(trial.history)] = [epoch.get(name, np.nan) for epoch in trial.history]
    known = np.isfinite(values).any(axis=0)
    if not known.any():
        return None
    epochs = np.arange(1, longest + 1)[known]
    values = np.where(np.isfinite(values), values, np.nan)[:, known]
    mean = np.nanmean(values, axis=0)
    every = max(1, len(epochs) // 8)
    axes.plot(epochs, mean, **style, markersize=4.5, markevery=every, linewidth=1.6)
    if len(row.trials) > 1:
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        axes.fill_between(epochs, low, high, color=style["color"], alpha=0.15, linewidth=0)
    return float(epochs[-1]), float(mean[-1])


def _scale_loss(axes: Axes, values: np.ndarray, rows: Sequence[Row], metric: str) -> None:
    """Use a logarithmic axis for positive values; curves that diverge leave it at the top."""
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values):
        return
    firsts = [trial.history[0].get(metric, np.nan) for row in rows for trial in row.trials if trial.history]
    firsts = [value for value in firsts if np.isfinite(value) and value > 0]
    top = min(values.max(), _DIVERGED * float(np.median(firsts))) if firsts else values.max()
    axes.set_yscale("log")
    axes.set_ylim(values.min() / 1.25, top * 1.25)
    digits = (1, 2, 5) if top > 8 * values.min() else (1, 1.5, 2, 3, 4, 5, 7)
    axes.yaxis.set_major_locator(FixedLocator([digit * 10.0**power for power in range(-6, 7) for digit in digits]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _scale_accuracy(axes: Axes, values: np.ndarray, rows: Sequence[Row], metric: str) -> None:
    """Use a logit axis for values near 1, so that 98 % and 99 % are as far apart as 1 % and 2 %; else a linear one."""
    values = values[np.isfinite(values)]
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    if not len(values):
        return
    if values.max() < 0.9:
        margin = 0.05 * float(np.ptp(values)) or 0.01
        axes.set_ylim(values.min() - margin, values.max() + margin)
        return
    axes.set_yscale("logit")
    axes.yaxis.set_major_locator(FixedLocator(_SHARES))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    for drawn in axes.lines:
        drawn.set_ydata(np.clip(drawn.get_ydata(), _EDGE, 1 - _EDGE))
    odds = np.clip(values, _EDGE, 1 - _EDGE)
    odds = np.log(odds / (1 - odds))
    bottom, top = (1 / (1 + np.exp(-edge)) for edge in (odds.min() - 0.3, odds.max() + 0.3))
    axes.set_ylim(bottom, top)


def _label(
    axes: Axes, rows: Sequence[Row], styles: Sequence[Mapping[str, Any]], ends: Sequence[tuple[float, float] | None]
) -> None:
    """Label the curves at their ends, and move labels apart that would overlap."""
    to_axes = axes.transData + axes.transAxes.inverted()
    right = max((end[0] for end in ends if end), default=1.0)
    left = axes.get_xlim()[0]
    axes.set_xlim(left, right + (right - left) * 0.04)
    shown = [end and (end[0], min(end[1], 1 - _EDGE) if axes.get_yscale() == "logit" else end[1]) for end in ends]
    wanted = [(float(np.clip(to_axes.transform(end)[1], 0, 1)), i, end) for i, end in enumerate(shown) if end]
    wanted.sort(key=lambda item: item[0])
    heights = spread([height for height, _, _ in wanted], min(_LABEL_GAP, 1 / max(1, len(wanted) - 1)))
    for (own, i, end), height in zip(wanted, heights, strict=True):
        x = to_axes.transform(end)[0]
        axes.plot(
            [x, 1.05],
            [own, height],
            transform=axes.transAxes,
            color=styles[i]["color"],
            linewidth=0.7,
            alpha=0.6,
            clip_on=False,
        )
        axes.annotate(
            _short(rows[i].variant, 22),
            (1.06, height),
            xycoords="axes fraction",
            va="center",
            color=styles[i]["color"],
            fontsize=10,
        )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move sorted heights in 0 to 1 apart, so that neighbours are at least ``gap`` from one another.

    There has to be room for all: ``gap`` times (their number - 1) is at most 1.
    """
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + gap) if placed else height)
    over = 1.0
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = min(placed[i], over)
        over = placed[i] - gap
    return placed


def _final(axes: Axes, rows: Sequence[Row], styles: Sequence[Mapping[str, Any]]) -> None:
    """Draw bars of the accuracy on the test split, or else in validation, the best at the top."""
    name = "test_accuracy" if any("test_accuracy" in row.mean for row in rows) else "val_accuracy"
    order = sorted(range(len(rows)), key=lambda i: rows[i].mean.get(name, -1.0))
    values = {i: [rows[i].mean[name], *_singles(rows[i], name)] for i in order if name in rows[i].mean}
    known = [value for of_row in values.values() for value in of_row]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    # The axis begins where the bars can be distinguished, and its title says so.
    floor = 0.0 if low < 0.5 else max(0.0, low - max(0.6 * (high - low), 0.02))
    ceiling = floor + max(high - floor, 1e-6) * (1.5 if any(row.std for row in rows) else 1.28)
    for place, i in enumerate(order):
        row, colour = rows[i], styles[i]["color"]
        if name in row.mean:
            value = row.mean[name]
            axes.barh(place, value - floor, left=floor, color=colour, height=0.62, alpha=0.9)
            for own in values[i][1:]:
                axes.plot(own, place, "|", color="black", markersize=9)
            spread_text = f" ± {100 * row.std[name]:.2f}" if name in row.std else ""
            axes.text(max(values[i]), place, f"  {100 * value:.2f}{spread_text} %", va="center", fontsize=10)
        if row.failure:
            below = 0.42 if name in row.mean else 0.0
            text = textwrap.fill(_short(row.failure, 2 * _REASON), _REASON)
            at = (floor, place - below)
            axes.annotate(text, at, (4, 0), textcoords="offset points", va="center", color=colour, fontsize=8.5)
    axes.set_xlim(floor, ceiling)
    spare = max(0, _FEW - len(rows)) / 2  # keeps a small number of bars thin
    axes.set_ylim(-0.7 - spare, len(rows) - 0.3 + spare)
    axes.set_yticks(range(len(rows)), [_short(rows[i].variant, 22) for i in order])
    for label, i in zip(axes.get_yticklabels(), order, strict=True):
        label.set_color(styles[i]["color"])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.xaxis.set_major_locator(FixedLocator([at for at in MaxNLocator(5).tick_values(floor, ceiling) if at <= 1.0]))
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    where = "test" if name == "test_accuracy" else "validation, last epoch"
    begins = f" (the axis begins at {100 * floor:.3g} %)" if floor else ""
    axes.set_title(f"accuracy, {where}{begins}")


def _singles(row: Row, name: str) -> list[float]:
    """Return the final value of each of several trainings."""
    done = [trial for trial in row.trials if trial.status == "FINISHED" and trial.history]
    if name == "test_accuracy":
        found = [trial.test.get("accuracy") for trial in done]
    else:
        found = [trial.history[-1].get(name) for trial in done]
    return [own for own in found if own is not None and len(row.trials) > 1]


def _short(text: str, length: int) -> str:
    text = text.replace("$", r"\$")
    return text if len(text) <= length else text[: length - 1] + "…"


def recall_picture(rows: Sequence[Row], classes: Sequence[str]) -> Figure:
    """Draw the recall of each variant for each class's test images: variants down, classes across.

    Args:
        rows: Variants with ``recall``.
        classes: Their names, in the order of ``recall``.
    """
    recall = np.array([row.recall for row in rows])
    figure = Figure(figsize=(3 + 0.62 * len(classes), 1.9 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    lowest = min(float(recall.min()), 0.99)
    axes.imshow(recall, cmap="Blues", vmin=lowest, vmax=1, aspect="auto")
    for (line, column), value in np.ndenumerate(recall):
        colour = "white" if value > 0.4 * lowest + 0.6 else "black"
        axes.text(column, line, f"{100 * value:.1f}", ha="center", va="center", color=colour, fontsize=9)
    names = [_short(name, 16) for name in classes]
    axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 4 else 0)
    axes.set_yticks(range(len(rows)), [_short(row.variant, 22) for row in rows])
    axes.set(title="recall of each class on the test split, in %", xlabel="class")
    return figure
