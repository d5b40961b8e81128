"""Description of a network as tables and text."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from convoy.console import Table
from convoy.models.summary.arithmetic import number, times
from convoy.models.summary.describe import LayerDescription, NetworkDescription

_WIDTH = 100  # of notes
_FEW = 30  # layers without sums
_SHORT = (
    ("BatchNormalization", "BatchNorm"),
    ("Normalization", "Normalize"),
    ("AveragePooling", "AvgPool"),
    ("MaxPooling", "MaxPool"),
    ("Average", "Avg"),
    ("ZeroPadding", "ZeroPad"),
    ("DepthwiseConv", "DWConv"),
    ("SeparableConv", "SepConv"),
    ("Transpose", "Transp"),
    ("InputLayer", "Input"),
    ("GlobalAvgPool", "GlobalAvg"),
    ("GlobalMaxPool", "GlobalMax"),
)
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def summary_of(network: NetworkDescription) -> list[str | Table]:
    """Return a table of all layers, then the totals; for long networks, also sums per size of the volumes."""
    parts: list[str | Table] = [_layer_table(network.layers), *_legend(network.layers)]
    if len(network.layers) > _FEW:
        parts += ["", _stage_table(network.layers)]
    return [*parts, "", *_totals(network)]


def full_text(network: NetworkDescription) -> str:
    """Return ``summary_of`` as plain text."""
    return "\n".join(map(str, summary_of(network)))


def totals_line(network: NetworkDescription) -> str:
    """Return one line: layers, parameters, floating-point operations of one sample, input size."""
    first, last = network.layers[0], network.layers[-1]
    without = f" (without {cut(', '.join(network.uncounted), 60)})" if network.uncounted else ""
    return (
        f"{network.name}: input {times(first.output)}, output {times(last.output)}, {len(network.layers)} layers,"
        f" {network.parameters:,} parameters, {amount(2 * network.multiply_adds)} FLOPs per sample{without}"
    )


def short_kind(kind: str) -> str:
    """Return the abbreviated name of a kind of layer."""
    for long, short in _SHORT:
        kind = kind.replace(long, short)
    return kind


def amount(value: float) -> str:
    """Return a number with three digits and a unit, e.g. ``15.5G``; numbers below 10,000 without a unit."""
    if value < 1e4:
        return str(int(value))
    size, unit = next((size, unit) for size, unit in _UNITS if value >= size * 0.9995)
    return f"{value / size:#.3g}".rstrip(".") + unit


def memory(value: int) -> str:
    """Return a number of bytes as text in powers of ten, e.g. ``3.90 GB``."""
    text = amount(value)
    return f"{text} B" if text.isdigit() else f"{text[:-1]} {text[-1]}B"


def side(sides: Sequence[int] | Sequence[str] | str | None) -> str:
    """Return sides as text: ``5`` for 5x5, ``5x3`` if they differ, ``all`` unchanged, ``?`` if unknown."""
    if sides is None or isinstance(sides, str):
        return sides or "?"
    return str(sides[0]) if len(set(sides)) == 1 else times(sides)


def _layer_table(layers: Sequence[LayerDescription]) -> Table:
    header = ("layer", "kind", "output", "(N - F + 2P)/S + 1", "weights", "MACs", "sees", "jump", "bytes")
    rows = []
    for layer in layers:
        cells = [layer.name, short_kind(layer.kind), times(layer.output) or "-", _formula(layer)]
        cells += [f"{layer.parameters:,}" if layer.parameters else ""]
        cells += ["?" if layer.multiply_adds is None else amount(layer.multiply_adds) if layer.multiply_adds else ""]
        cells += [side(layer.sees), side([number(Fraction(jump)) for jump in layer.jump]) if layer.jump else ""]
        cells += [amount(layer.activation_bytes) if layer.activation_bytes else ""]
        rows.append(cells)
    return Table(rows, header, "<<<<>>>>>")


def _formula(layer: LayerDescription) -> str:
    """Return the formula of the first axis without inner spaces, and ``*`` if it leaves a remainder."""
    if layer.formula is None:
        return ""
    first = layer.formula.partition(", ")[0]
    left, _, right = first.rpartition(" = ")
    star = "*" if layer.left_out and any(layer.left_out) else ""
    return f"{left.replace(' ', '')} = {right}{star}"


def _legend(layers: Sequence[LayerDescription]) -> list[str | Table]:
    lines: list[str | Table] = [
        "N: input side, F: filter, P: zeros on a side, S: stride. MACs: multiply-adds for one sample.",
        "sees: side of the receptive field in the input; jump: to the next. bytes: of one sample's output.",
    ]
    left = [layer for layer in layers if layer.left_out and any(layer.left_out)]
    if left:
        note = "* not a whole number, rounded down. Rows and columns left out: "
        shown = ", ".join(f"{layer.name} {side(layer.left_out)}" for layer in left)
        lines += textwrap.wrap(note + shown, _WIDTH, subsequent_indent="  ", max_lines=4, placeholder=" ...")
    return lines


def _stage_table(layers: Sequence[LayerDescription]) -> Table:
    """Return a table with one line for all layers whose outputs have the same sides."""
    stages: dict[str, list[LayerDescription]] = {}
    for layer in layers:
        stages.setdefault(times(layer.output[:-1]) or "flat", []).append(layer)
    rows = []
    for name, members in stages.items():
        last = members[-1]
        kinds = Counter(short_kind(layer.kind) for layer in members)
        note = ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in kinds.most_common())
        rows.append(
            [
                name,
                str(len(members)),
                textwrap.shorten(note, 36, placeholder=" ..."),
                str(last.output[-1]) if last.output else "",
                f"{sum(layer.parameters for layer in members):,}",
                amount(sum(layer.multiply_adds or 0 for layer in members)),
                side(last.sees),
                amount(sum(layer.activation_bytes or 0 for layer in members)),
            ]
        )
    header = ("sides", "layers", "of which", "channels", "weights", "MACs", "sees", "bytes")
    return Table(rows, header, "<><>>>>>")


def _totals(network: NetworkDescription) -> list[str]:
    fixed = network.parameters - network.trainable
    weights = f"{network.parameters:,} in {memory(network.weight_bytes)}"
    weights += f"; {network.trainable:,} trained, {fixed:,} not" if fixed else ", all trained"
    batch = f"{network.batch:,} sample{'s' * (network.batch != 1)}"
    if network.ranks > 1:
        batch += f", a rank's share of a global batch of {network.global_batch:,} on {network.ranks} ranks"
    costs = (
        f"{network.multiply_adds:,} ({amount(network.multiply_adds)}) for one sample, of convolutions and dense layers"
    )
    lines = [
        f"weights        {weights}",
        f"multiply-adds  {costs}",
        f"activations    {memory(network.activation_bytes)} for {batch}",
    ]
    if network.uncounted:
        lines.append(cut(f"not counted    multiply-adds of {', '.join(network.uncounted)}", _WIDTH))
    first, last = network.layers[0], network.layers[-1]
    return [f"{network.name}: {times(first.output)} -> {times(last.output)}, {len(network.layers)} layers", *lines]


def cut(text: str, width: int) -> str:
    """Shorten a text that is too long in the middle: ends of names are more informative than beginnings."""
    if len(text) <= width:
        return text
    tail = (width - 2) // 2
    return text[: width - 2 - tail] + ".." + text[len(text) - tail :]
