"""Would a job run here? ``python jobs/doctor.py --config conf/digits.yaml``, or by ``spark-submit``."""

import dataclasses
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from convoy.cli.job import run_job
from convoy.config import Config
from convoy.console import Table, say
from convoy.doctor import pins
from convoy.doctor.checks import Finding, examine


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What this job alone takes."""

    json: bool = False
    """Put all findings into the JSON line, and print nothing else."""


def findings_of(config: Config) -> list[Finding]:
    """Gather and judge; where a library that gathering needs is missing, that is the finding."""
    try:
        from convoy.doctor.gather import gather
    except ImportError as error:
        return [Finding("packages", "error", f"cannot be imported: {error}", "make setup installs the tested versions")]
    known = pins.load()
    return examine(gather(config, known), config, known)


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit status: 1 where something would stop a job, else as for every job."""
    levels: Counter[str] = Counter()

    def run(config: Config, arguments: Arguments) -> dict[str, Any]:
        findings = findings_of(config)
        levels.update(finding.level for finding in findings)
        counts = {"ok": levels["ok"], "warnings": levels["warning"], "errors": levels["error"]}
        if arguments.json:
            return {**counts, "findings": [finding.to_json() for finding in findings]}
        say(Table([finding.cells() for finding in findings]))
        return counts

    status = run_job("doctor", run, "Would a job run here? One line each, with what to do.", argv, Arguments)
    return status or int(levels["error"] > 0)


if __name__ == "__main__":
    sys.exit(main())
