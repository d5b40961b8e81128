"""Difference between two runs. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from convoy.runs.formats import Cell, Table, finite
from convoy.tracking.run_record import RunRecord

Pairs = dict[str, tuple[Cell, Cell]]
"""Name -> (value of the first, of the second); None if there is none."""

_DATA = ("dataset.name", "dataset.version", "dataset.fingerprint")
_CODE = ("mlflow.source.git.commit", "git.uncommitted_sha256")
_LONGEST = 40  # characters of a value in a text


@dataclass(frozen=True)
class Environment:
    """Environment of a training.

    Attributes:
        packages: Name -> version; None if not recorded.
        machine: Python, platform, processor, cores; None if not recorded.
    """

    packages: Mapping[str, str] | None = None
    machine: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Difference:
    """Differences between two runs, without equal values.

    Attributes:
        sections: ``configuration``, ``data``, ``code``, ``packages``, ``machine``, ``metrics`` -> their differences.
        unknown: Sections that a run has no record of.
    """

    sections: Mapping[str, Pairs]
    unknown: tuple[str, ...] = field(default=())

    def table(self, first: str, second: str, short: bool) -> Table:
        """Return a table with a row for each difference.

        Args:
            first: Label of the first run.
            second: Label of the second run.
            short: Whether long values are cut.
        """
        cut = _cut if short else lambda cell: cell
        rows: list[list[Cell]] = [
            [section, name, cut(before), cut(after)]
            for section, pairs in self.sections.items()
            for name, (before, after) in pairs.items()
        ]
        return Table(["", "", first, second], rows)

    def plain(self) -> dict[str, Any]:
        """Return values for JSON: section -> name -> [value of the first, of the second]."""
        return {
            section: {name: [finite(value) for value in pair] for name, pair in pairs.items()}
            for section, pairs in self.sections.items()
        }


def _cut(cell: Cell) -> Cell:
    return cell[: _LONGEST - 1] + "…" if isinstance(cell, str) and len(cell) > _LONGEST else cell


def difference(first: RunRecord, second: RunRecord, of_first: Environment, of_second: Environment) -> Difference:
    """Compare two runs.

    Metrics are their last values; those of single ranks, layers and machines (with a ``/``) are left out.
    """
    unknown = []
    sections = {
        "configuration": differing(first.params, second.params),
        "data": differing(_data(first), _data(second)),
        "code": differing(_some(first.tags, _CODE), _some(second.tags, _CODE)),
    }
    for name in ("packages", "machine"):
        before, after = getattr(of_first, name), getattr(of_second, name)
        if before is None or after is None:
            unknown.append(name)
        else:
            sections[name] = differing(before, after)
    sections["metrics"] = differing(_of_all(first.metrics), _of_all(second.metrics))
    return Difference({name: pairs for name, pairs in sections.items() if pairs}, tuple(unknown))


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Pairs:
    """Return a mapping: name -> both values, of the names whose values differ."""
    return {
        name: (before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) and not _both_nan(before.get(name), after.get(name))
    }


def _both_nan(first: Any, second: Any) -> bool:
    return first != first and second != second


def _data(run: RunRecord) -> dict[str, Any]:
    return {**_some(run.tags, _DATA), **{f"{split} samples": rows for split, rows in run.rows.items()}}


def _some(values: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: values[name] for name in names if name in values}


def _of_all(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if "/" not in name}
