"""Layered layout of a directed graph: columns by depth, broken into bands like lines of text. Pure.

After K. Sugiyama, S. Tagawa, M. Toda, "Methods for Visual Understanding of Hierarchical System Structures", IEEE
Trans. SMC 11(2), 1981: edges over several columns get a separate lane in each, and the nodes of a column are ordered by
the mean place of their sources.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_LANE = 0.55  # height of an edge's lane, where a node's is 1


@dataclass(frozen=True)
class Layout:
    """Places of nodes and edges.

    Attributes:
        column: Column of each node.
        height: Height of each node, 0 in the middle of its band, positive upwards.
        lanes: (source, target) -> [(column, height), ...] of the edge's points, including both ends.
        bands: First and last column of each band, in order.
    """

    column: list[int]
    height: list[float]
    lanes: dict[tuple[int, int], list[tuple[int, float]]]
    bands: list[tuple[int, int]]


def layout(sources: Sequence[Sequence[int]], longest: int) -> Layout:
    """Return the layout of a graph.

    Args:
        sources: For each node, the earlier nodes that it depends on.
        longest: Largest number of columns of a band.
    """
    column: list[int] = []
    for depends in sources:
        column.append(1 + max((column[i] for i in depends), default=-1))
    last = max(column)
    # In a column, an edge is (source, target), and a node is (node, node).
    items: list[list[tuple[int, int]]] = [[] for _ in range(last + 1)]
    before: dict[tuple[int, tuple[int, int]], list[tuple[int, int]]] = {}
    for node, depends in enumerate(sources):
        items[column[node]].append((node, node))
        before.setdefault((column[node], (node, node)), [])
        for source in depends:
            previous = (source, source)
            for passed in range(column[source] + 1, column[node]):
                items[passed].append((source, node))
                before[passed, (source, node)] = [previous]
                previous = (source, node)
            before[column[node], (node, node)].append(previous)
    heights: list[dict[tuple[int, int], float]] = []
    for number, members in enumerate(items):
        wanted = {}
        for item in members:
            found = [heights[number - 1][source] for source in before[number, item]]
            wanted[item] = sum(found) / len(found) if found else 0.0
        heights.append(_spread(members, wanted))
    lanes = {}
    for node, depends in enumerate(sources):
        for source in depends:
            between = [(at, heights[at][source, node]) for at in range(column[source] + 1, column[node])]
            start, end = (
                (column[source], heights[column[source]][source, source]),
                (column[node], heights[column[node]][node, node]),
            )
            lanes[source, node] = [start, *between, end]
    return Layout(column, [heights[column[i]][i, i] for i in range(len(sources))], lanes, _bands(items, longest))


def _spread(members: Sequence[tuple[int, int]], wanted: dict[tuple[int, int], float]) -> dict[tuple[int, int], float]:
    """Return places of a column's members without overlap, ordered by ``wanted``; a single one is in the middle."""
    if len(members) == 1:
        return {members[0]: 0.0}
    ordered = sorted(members, key=lambda item: (-wanted[item], item[0], item[1]))
    sizes = [1.0 if source == target else _LANE for source, target in ordered]
    places, top = [], sum(sizes) / 2
    for size in sizes:
        places.append(top - size / 2)
        top -= size
    return dict(zip(ordered, places, strict=True))


def _bands(items: Sequence[Sequence[tuple[int, int]]], longest: int) -> list[tuple[int, int]]:
    """Return bands of columns, broken where columns have fewest members, between half and all of the allowed length."""
    bands, start = [], 0
    while len(items) - start > longest:
        choices = range(start + longest // 2, start + longest)
        end = min(choices, key=lambda at: (len(items[at]), -at))
        bands.append((start, end))
        start = end + 1
    return [*bands, (start, len(items) - 1)]
