"""Picture of a branched or deep network as a graph, in bands like lines of text."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch

from convoy.models.architectures.layered import Layout, layout
from convoy.models.summary.arithmetic import times
from convoy.models.summary.boxes import COLOURS, Box
from convoy.models.summary.describe import NetworkDescription
from convoy.models.summary.picture_volumes import side_of, title

_LONGEST = 18  # columns of a band
_COLUMN, _ROW = 0.84, 0.52  # inches
_BOX = (0.6, 0.36)
_HEAD = 0.34  # above a band, for the sides of its volumes
_LINE: dict[str, Any] = {"color": "#777777", "linewidth": 0.9, "solid_capstyle": "round", "zorder": 1}
_SIGNS = {"Add": "+", "Multiply": "×", "Subtract": "-", "Maximum": "max", "Average": "mean", "Concatenate": "concat"}


def graph_picture(network: NetworkDescription, boxes: Sequence[Box]) -> Figure:
    """Return a picture of boxes and their connections.

    Args:
        network: The network, for the title.
        boxes: The boxes, each after those that it takes its input from.
    """
    found = layout([box.sources for box in boxes], _LONGEST)
    extents = [_extent(found, band) for band in found.bands]
    tops = []
    height = 0.55
    for low, high in extents:
        tops.append(height + _HEAD + high * _ROW)
        height += _HEAD + (high - low) * _ROW + 0.08
    height += 0.4
    columns = max(last - first + 1 for first, last in found.bands)
    width = max(8.0, columns * _COLUMN + 1.0)
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    axes.text(0.25, 0.3, title(network), fontsize=11, fontweight="bold", va="center")
    for number, ((first, last), top) in enumerate(zip(found.bands, tops, strict=True)):
        _edges(axes, found, first, last, top)
        low, high = extents[number]
        _sides(axes, boxes, found, (first, last), top - high * _ROW - _HEAD / 2)
        for i, box in enumerate(boxes):
            if first <= found.column[i] <= last:
                _draw(axes, box, _x(found.column[i], first), top - found.height[i] * _ROW)
    groups = [group for group in COLOURS if any(box.group == group for box in boxes)]
    patches = [Patch(facecolor=COLOURS[group], edgecolor="#444444", linewidth=0.7, label=group) for group in groups]
    axes.legend(handles=patches, loc="lower left", ncols=len(patches), frameon=False, fontsize=8)
    text = "in a box: filter/stride, channels; above: sides of the volumes"
    axes.text(width - 0.25, height - 0.2, text, ha="right", va="center", fontsize=8, color="#555555")
    return figure


def _extent(found: Layout, band: tuple[int, int]) -> tuple[float, float]:
    """Return the lowest and highest point of a band, in rows."""
    first, last = band
    nodes = [height for column, height in zip(found.column, found.height, strict=True) if first <= column <= last]
    lanes = [height for points in found.lanes.values() for column, height in points if first <= column <= last]
    return min([*nodes, *lanes]) - 0.5, max([*nodes, *lanes]) + 0.5


def _x(column: int, first: int) -> float:
    return 0.9 + (column - first) * _COLUMN


def _edges(axes: Axes, found: Layout, first: int, last: int, top: float) -> None:
    """Draw the part of each edge within a band; edges between bands are drawn to the margins."""
    half = _BOX[0] / 2
    for points in found.lanes.values():
        inside = [(_x(column, first), top - height * _ROW) for column, height in points if first <= column <= last]
        if not inside:
            continue
        start, end = points[0][0] >= first, points[-1][0] <= last
        before = [height for column, height in points if column == first - 1]
        if before:  # the edge comes from the band above
            inside.insert(0, (_x(first, first) - 0.8 * _COLUMN, top - before[0] * _ROW))
        if not end:  # the edge continues in the band below
            inside.append((_x(last, first) + 0.8 * _COLUMN, inside[-1][1]))
        xs, ys = [], []
        for k, (x, y) in enumerate(inside):  # straight where there may be boxes beside it, bent between columns
            xs += [x - half] * (k > 0) + [x + half] * (k + 1 < len(inside))
            ys += [y] * ((k > 0) + (k + 1 < len(inside)))
        if not start:
            xs[0] = inside[0][0]
        if not end:
            xs[-1] = inside[-1][0]
        axes.plot(xs, ys, **_LINE)
        if end:
            x, y = inside[-1]
            axes.plot([x - half - 0.03], [y], marker=">", markersize=3, color="#777777", markeredgewidth=0, zorder=5)


def _sides(axes: Axes, boxes: Sequence[Box], found: Layout, band: tuple[int, int], y: float) -> None:
    """Write the sides of the volumes above a band wherever they change."""
    shown = None
    for column in range(band[0], band[1] + 1):
        here = [box for box, at in zip(boxes, found.column, strict=True) if at == column]
        sides = times(here[0].output[:-1]) or "flat"
        if sides != shown and all((times(box.output[:-1]) or "flat") == sides for box in here):
            axes.text(_x(column, band[0]), y, sides, ha="center", va="center", fontsize=8, color="#1f5f8b")
            shown = sides


def _draw(axes: Axes, box: Box, x: float, y: float) -> None:
    width, height = _BOX
    style = "round,pad=0,rounding_size=0.06" if box.group != "merge" else f"round,pad=0,rounding_size={height / 2}"
    corner = (x - width / 2, y - height / 2)
    axes.add_patch(
        FancyBboxPatch(
            corner,
            width,
            height,
            boxstyle=style,
            facecolor=COLOURS[box.group],
            edgecolor="#444444",
            linewidth=0.7,
            zorder=3,
        )
    )
    channels = str(box.output[-1]) if box.output else ""
    upper = side_of(box) or _SIGNS.get(box.kind, box.kind if len(box.kind) < 10 else box.kind[:8] + ".")
    if box.group in ("input", "dense"):
        upper = box.group
    if box.kind.startswith("Global"):
        upper = "global"
    if box.kind == "Add":
        channels = ""
    text = f"{upper}\n{channels}" if channels else upper
    axes.text(x, y, text, ha="center", va="center", fontsize=6.8 if channels else 9, linespacing=1.05, zorder=4)
