"""What follows from an evaluation: pass and be promoted, or fail with the reasons."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from convoy.console import say
from convoy.dataset.manifest import Manifest
from convoy.errors import GateFailure
from convoy.evaluation.gates import Finding, Gate, NotWorse
from convoy.inference.dataframe import check_dataset
from convoy.models.package import ModelPackage
from convoy.tracking.promotion import CHAMPION, PREVIOUS, load_champion, record_gates


class Opponents:
    """The models that gates compare with, each loaded once.

    Attributes:
        packages: Those that have to be measured: neither missing nor the measured model itself.
    """

    def __init__(self, gates: Sequence[Gate], package: ModelPackage, manifest: Manifest) -> None:
        """Load them, before any Spark work.

        Raises:
            TrackingError: One of them does not exist.
            ModelError: One of them does not fit the dataset.
        """
        self._own = package.uri
        self._by_uri = {gate.uri: load_champion(gate.uri) for gate in gates if isinstance(gate, NotWorse)}
        found = {other.uri: other for other in self._by_uri.values() if other is not None and other.uri != package.uri}
        self.packages = list(found.values())
        for other in self.packages:
            check_dataset(other, manifest)

    def predictions(self, own: np.ndarray, others: Sequence[np.ndarray]) -> dict[str, np.ndarray | None]:
        """Give each its predictions, by the URI in the gate; None where there is no such model yet.

        Args:
            own: int (N,), the measured model's.
            others: int (N,) of each of ``packages``.
        """
        by_model = {self._own: own, **{p.uri: said for p, said in zip(self.packages, others, strict=True)}}
        return {uri: None if package is None else by_model[package.uri] for uri, package in self._by_uri.items()}


def decide(findings: Sequence[Finding], uri: str, run_id: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Record what came of the gates, and promote a registered version that passed all of them.

    Args:
        findings: Of the gates; none leaves everything as it is.
        uri: The model, resolved.
        run_id: Its run.
        result: The fields of the job's JSON line so far.

    Returns:
        The fields, with ``passed`` and, where a version was promoted, ``champion`` and ``previous``.

    Raises:
        GateFailure: The model failed a gate.
    """
    if not findings:
        return dict(result)
    reasons = "; ".join(f"{each.gate}: {each.found}" for each in findings if not each.passed)
    in_use = record_gates(uri, run_id, reasons or None)
    fields = {**result, "passed": not reasons, "gates": [vars(each) for each in findings]}
    if reasons:
        raise GateFailure(f"{uri} is not good enough: {reasons}", fields)
    if in_use is None:
        say(f"all gates passed; no alias moves, since {uri} is no version of a registered model")
        return fields
    before = f" ({PREVIOUS}: {in_use.previous})" if in_use.previous else ""
    say(f"all gates passed: {CHAMPION} of {in_use.model} is version {in_use.champion}{before}")
    return {**fields, CHAMPION: in_use.champion, PREVIOUS: in_use.previous}
