"""Picture of a chain of layers as their output volumes, as in LeCun's paper and CS231n."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from convoy.models.summary.arithmetic import times
from convoy.models.summary.boxes import COLOURS, Box
from convoy.models.summary.describe import NetworkDescription
from convoy.models.summary.text import amount, cut

_PER_ROW = 12
_TALLEST = 2.2  # of the drawing's units, which are inches
_SLANT = 0.35  # how far a volume reaches back, per unit of its width
_GAP = 0.55
_NARROWEST = 1.05  # room for the text below a volume
_TEXT_ABOVE, _TEXT_BELOW = 0.5, 0.8


@dataclass(frozen=True)
class _Solid:
    """Sides of a drawn volume: across (channels), up (height), back (width)."""

    across: float
    up: float
    back: float

    @property
    def room(self) -> float:
        """Return the width that it needs in a row, including the text."""
        return max(_NARROWEST, self.across + self.back * _SLANT) + _GAP


def volumes_picture(network: NetworkDescription, boxes: Sequence[Box]) -> Figure:
    """Return a picture of a chain of boxes.

    Args:
        network: The network, for the title.
        boxes: The boxes, each of which takes the output of the one before it.
    """
    scale = _scale(boxes)
    solids = [_solid(box, scale) for box in boxes]
    count = math.ceil(len(boxes) / _PER_ROW)
    per_row = math.ceil(len(boxes) / count)
    rows = [range(start, min(start + per_row, len(boxes))) for start in range(0, len(boxes), per_row)]
    width = max(7.0, max(sum(solids[i].room for i in row) for row in rows) + 0.3)
    heights = [max(solids[i].up + solids[i].back * _SLANT for i in row) + _TEXT_ABOVE + _TEXT_BELOW for row in rows]
    height = sum(heights) + 0.6
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    axes.text(0.2, height - 0.35, title(network), fontsize=11, fontweight="bold", va="center")
    top = height - 0.6
    for row, tall in zip(rows, heights, strict=True):
        middle = top - _TEXT_ABOVE - (tall - _TEXT_ABOVE - _TEXT_BELOW) / 2
        x = (width - sum(solids[i].room for i in row)) / 2 if len(rows) == 1 else 0.15
        for i in row:
            _draw(axes, boxes[i], solids[i], x, middle, top, top - tall + _TEXT_BELOW)
            if i + 1 < len(boxes):
                end = x + solids[i].room
                axes.annotate(
                    "", (end + 0.02, middle), (end - 0.3, middle), arrowprops={"arrowstyle": "->", "color": "#777777"}
                )
            x += solids[i].room
        top -= tall
    return figure


def title(network: NetworkDescription) -> str:
    """Return the name, shapes and totals of a network in one line."""
    shapes = f"{times(network.layers[0].output)} to {times(network.layers[-1].output)}"
    return f"{network.name}: {shapes}, {network.parameters:,} weights, {amount(network.multiply_adds)} multiply-adds"


def _scale(boxes: Sequence[Box]) -> float:
    """Return the drawing units per square root of a side, so that small volumes stay visible beside large ones."""
    largest = max((value or 1 for box in boxes for value in box.output[:-1]), default=1)
    return _TALLEST / math.sqrt(largest)


def _solid(box: Box, scale: float) -> _Solid:
    *sides, channels = (value or 1 for value in box.output)
    across = 0.09 + 0.13 * math.log2(max(1, channels))
    if not sides:  # a vector is drawn upright
        return _Solid(0.16, min(_TALLEST, 0.35 + 0.17 * math.log2(max(1, channels))), 0.16)
    up = max(0.12, scale * math.sqrt(sides[0 if len(sides) < 3 else 1]))
    back = max(0.12, scale * math.sqrt(sides[-1])) if len(sides) > 1 else 0.12
    return _Solid(across, up, back)


def _draw(axes: Axes, box: Box, solid: _Solid, x: float, middle: float, top: float, bottom: float) -> None:
    slant = solid.back * _SLANT
    room = solid.room - _GAP
    left = x + (room - solid.across - slant) / 2
    low = middle - (solid.up + slant) / 2
    right, high = left + solid.across, low + solid.up
    faces = (
        ([(left, low), (right, low), (right, high), (left, high)], 1.0),
        ([(left, high), (right, high), (right + slant, high + slant), (left + slant, high + slant)], 0.75),
        ([(right, low), (right + slant, low + slant), (right + slant, high + slant), (right, high)], 0.55),
    )
    for corners, alpha in faces:
        axes.add_patch(Polygon(corners, facecolor="white", edgecolor="none"))
        axes.add_patch(Polygon(corners, facecolor=COLOURS[box.group], alpha=alpha, edgecolor="none"))
        axes.add_patch(Polygon(corners, fill=False, edgecolor="#444444", linewidth=0.7))
    centre = x + room / 2
    axes.text(centre, high + slant + 0.28, cut(box.name, 20), ha="center", va="center", fontsize=8, color="#555555")
    axes.text(centre, high + slant + 0.12, times(box.output), ha="center", va="center", fontsize=9, fontweight="bold")
    stride = f"stride {box.stride[1:]}" if box.stride else ""
    weights = f"{amount(box.weights)} weights" if box.weights else ""
    lines = [f"{_word(box)} {box.size}".strip(), stride, box.activation, weights]
    text = "\n".join(line for line in lines if line)
    axes.text(centre, low - 0.1, text, ha="center", va="top", fontsize=7.5, linespacing=1.25)


def _word(box: Box) -> str:
    """Return the name of a layer's kind below its volume: ``conv``, ``max pool``, ``dense`` ..."""
    words = re.sub(r"[1-3]D$", "", box.kind)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", words).lower()


def side_of(box: Box) -> str:
    """Return the filter and its stride, e.g. ``5x5/2``."""
    return box.size + box.stride
