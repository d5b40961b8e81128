"""Inject one fault at a time into a training and check that it finishes with the same weights.

``make chaos-train`` runs this script and writes ``docs/chaos-train.md``. Every training is a separate driver process.
After each: the weights' SHA-256 equals that of an undisturbed run, the store has one run with every metric of every
epoch once, and no process is left. All waits are bounded.
"""

import argparse
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from chaos.faults import Server, Skipped, cut, fill, flip, small_disk
from chaos.store import run_id, weights_of_finished_run
from chaos.training import ROOT, START_SECONDS, Broken, Training

from convoy.console import say

EPOCHS = 16
_RANK = "horovod.spark.task.gloo_exec_fn"
_EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"


@dataclass(frozen=True)
class Outcome:
    """The result of a round.

    Attributes:
        seconds: From the fault to the end of the driver; if the driver was killed, the seconds of the resumed one.
        remark: Further observations.
    """

    seconds: float
    remark: str


class Chaos:
    """The rounds, each a method that injects one fault.

    The first line of such a method's docstring is the fault's name in the report.

    Args:
        folder: Scratch folder.
        seed: Seed of the fault times and of the choice of processes.
        limit: Maximum seconds from a fault to the end of the training.
    """

    def __init__(self, folder: Path, seed: int, limit: float) -> None:
        self.folder, self.limit, self.random = folder, limit, random.Random(seed)
        self.store = folder / "mlflow.db"
        self.whole = ""
        self.started: list[Training] = []

    def ingest(self) -> None:
        """Ingest the embedded digits."""
        command = [sys.executable, str(ROOT / "jobs" / "ingest.py"), "--config", str(ROOT / "conf" / "digits.yaml")]
        done = subprocess.run(
            [*command, "--dataset.root", str(self.folder / "datasets")],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=180,
        )
        if done.returncode:
            sys.exit(f"the ingest failed:\n{done.stderr[-3000:]}")

    def train(self, name: str, *arguments: str, uri: str | None = None) -> Training:
        """Start a training; trainings of the same name share their checkpoints."""
        place = self.folder / name
        place.mkdir(exist_ok=True)
        common = {
            "dataset.root": str(self.folder / "datasets"),
            "tracking.uri": uri or f"sqlite:///{self.store}",
            "tracking.experiment": name,
            "training.epochs": str(EPOCHS),
            "training.checkpoint.folder": "checkpoints",
            "training.checkpoint.every_steps": "7",
        }
        fields = [text for field, value in common.items() for text in (f"--{field}", value)]
        training = Training(place, [*fields, *arguments])
        self.started.append(training)
        return training

    def strike(self, training: Training) -> None:
        """Wait until a random time, some epochs into a training."""
        training.wait_for_epoch(self.random.randint(3, 8))
        time.sleep(self.random.uniform(0, 0.5))

    def check(self, name: str, store: Path | None = None) -> None:
        """Raise ``Broken`` unless the store has one complete, finished run with the expected weights."""
        sha256 = weights_of_finished_run(store or self.store, name, EPOCHS)
        if self.whole and sha256 != self.whole:
            raise Broken("the weights differ from those of the undisturbed run")
        self.whole = sha256

    def undisturbed(self) -> Outcome:
        """No fault."""
        training = self.train("undisturbed")
        seconds = training.wait(START_SECONDS)
        self.check("undisturbed")
        return Outcome(seconds, f"from start to end; the weights' SHA-256 is {self.whole[:12]}…")

    def killed_rank(self) -> Outcome:
        """SIGKILL of a rank."""
        return self._rank("killed-rank", signal.SIGKILL, "a rank was killed (signal 9)")

    def stopped_rank(self) -> Outcome:
        """SIGSTOP of a rank (`stall_timeout` 10 s)."""
        return self._rank("stopped-rank", signal.SIGSTOP, "no rank made progress", "--training.stall_timeout", "10")

    def _rank(self, name: str, number: int, reason: str, *arguments: str) -> Outcome:
        training = self.train(name, *arguments)
        self.strike(training)
        self.random.choice(training.with_argument(_RANK)).send_signal(number)
        return self._restarted(training, name, reason)

    def _restarted(self, training: Training, name: str, *reasons: str) -> Outcome:
        seconds = training.wait(self.limit)
        if not any(f"warning: {reason}" in training.text() for reason in reasons):
            raise Broken(f"the log does not contain {' or '.join(map(repr, reasons))}")
        self.check(name)
        return Outcome(seconds, "restarted, " + training.resumed())

    def killed_executor(self) -> Outcome:
        """SIGKILL of an executor of `local-cluster[2,1,2048]`."""
        training = self.train("killed-executor", "--spark.master", "local-cluster[2,1,2048]")
        self.strike(training)
        self.random.choice(training.with_argument(_EXECUTOR)).kill()
        return self._restarted(training, "killed-executor", "the ranks did not finish", "a rank was killed (signal 9)")

    def killed_driver(self) -> Outcome:
        """SIGKILL of the driver only, then `--resume`."""
        training = self.train("killed-driver")
        orphans = self._kill_driver(training)
        resumed = self.train("killed-driver", "--resume", run_id(self.store, "killed-driver"))
        seconds = resumed.wait(self.limit)
        self.check("killed-driver")
        return Outcome(seconds, f"its other processes ended after {orphans:.1f} s; {resumed.resumed()}")

    def _kill_driver(self, training: Training) -> float:
        self.strike(training)
        training.process.kill()
        training.process.wait()
        return training.wait_for_orphans()

    def damaged_checkpoints(self) -> Outcome:
        """SIGKILL of the driver, latest checkpoint truncated, `--resume`; again, with a bit flipped."""
        name, remarks = "damaged-checkpoint", []
        training = self.train(name)
        for damage in (cut, flip):
            self._kill_driver(training)
            newest = max((training.log.parent / "checkpoints" / run_id(self.store, name)).glob("step-*"))
            damage(newest / "arrays.npz", self.random)
            training = self.train(name, "--resume", run_id(self.store, name))
            training.wait_for_epoch(1)
            if f"{newest.name} is damaged" not in training.text():
                raise Broken(f"the damaged checkpoint {newest.name} is not reported")
            remarks.append(f"{newest.name} reported, {training.resumed()}")
        gone = time.monotonic() - training.started
        seconds = gone + training.wait(self.limit - gone)
        self.check(name)
        return Outcome(seconds, "; ".join(remarks))

    def full_disk(self) -> Outcome:
        """The checkpoint disk is full."""
        disk = self.folder / "disk"
        with small_disk(disk):
            training = self.train("full-disk", "--training.checkpoint.folder", str(disk))
            self.strike(training)
            fill(disk / "ballast")
            seconds = training.wait(self.limit)
            warnings = training.text().count("warning: no checkpoint could be saved")
            if not warnings or "No space left" not in training.text():
                raise Broken("the log does not report that no checkpoint can be saved")
        self.check("full-disk")
        return Outcome(seconds, f"continued without checkpoints, warnings: {warnings}")

    def killed_server(self) -> Outcome:
        """The tracking server is killed and restarted on the same port after 5 s."""

        def away(server: Server) -> None:
            server.end()
            time.sleep(5)
            server.start()

        return self._without_server("killed-server", away)

    def stopped_server(self) -> Outcome:
        """The tracking server is suspended (SIGSTOP) for 5 s."""

        def away(server: Server) -> None:
            server.send(signal.SIGSTOP)
            time.sleep(5)
            server.send(signal.SIGCONT)

        return self._without_server("stopped-server", away)

    def _without_server(self, name: str, away: Callable[[Server], None]) -> Outcome:
        server = Server(self.folder / f"{name}-store")
        try:
            training = self.train(name, uri=server.uri)
            self.strike(training)
            before, struck = training.epochs(), time.monotonic()
            away(server)
            done = training.epochs() - before
            training.wait(self.limit - (time.monotonic() - struck))
            seconds = time.monotonic() - struck
        finally:
            server.end()
        if not done:
            raise Broken("training made no progress while the server was unavailable")
        self.check(name, server.store)
        return Outcome(seconds, f"{done} epochs were trained while it was unavailable")


def report(rows: list[list[str]], arguments: argparse.Namespace, minutes: float) -> str:
    """Return the text of ``docs/chaos-train.md``."""
    return "\n".join(
        [
            "# Chaos test: training with injected faults",
            "",
            f"`make chaos-train` (seed {arguments.seed}), {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {minutes:.1f}"
            f" minutes, {os.cpu_count()} cores, {platform.system()}.",
            f"LeNet-5 on the embedded digits, two ranks, {EPOCHS} epochs. Each fault is injected after 3 to 8 epochs,",
            f"at a random time; the training must end within {arguments.limit:.0f} s of it. A row with *yes* means",
            "that the run finished, the weights' SHA-256 equals that of the undisturbed run, the store has one run",
            "with every metric of every epoch exactly once, and no process was left.",
            "",
            "| fault | survived | seconds from fault to end | observations |",
            "| --- | --- | ---: | --- |",
            *("| " + " | ".join(row) + " |" for row in rows),
            "",
            "If the driver was killed, the seconds are those of the resumed training.",
            "",
        ]
    )


def main() -> int:
    """Run the rounds; return 1 if one failed, else 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=[], help="rounds to run, by name (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="seed of fault times and processes (default: 0)")
    parser.add_argument("--limit", type=float, default=60, help="maximum seconds from a fault to the end (default: 60)")
    parser.add_argument("--output", type=Path, help="Markdown file for the result")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # run every finally block
    started, failed, rows = time.monotonic(), False, []
    with tempfile.TemporaryDirectory(prefix="convoy-chaos-", ignore_cleanup_errors=True) as place:
        chaos = Chaos(Path(place).resolve(), arguments.seed, arguments.limit)
        chaos.ingest()
        rounds = [chaos.undisturbed, chaos.killed_rank, chaos.stopped_rank, chaos.killed_executor, chaos.killed_driver]
        rounds += [chaos.damaged_checkpoints, chaos.full_disk, chaos.killed_server, chaos.stopped_server]
        for play in rounds:
            if arguments.only and play.__name__ not in ("undisturbed", *arguments.only):
                continue
            title = (play.__doc__ or "").strip().rstrip(".")
            try:
                outcome = play()
                rows.append([title, "yes", f"{outcome.seconds:.1f}", outcome.remark])
            except Skipped as reason:
                rows.append([title, "skipped", "", str(reason)])
            except Broken as problem:
                failed = True
                rows.append([title, "no", "", str(problem)])
                say(chaos.started[-1].text()[-4000:])
            finally:
                for training in chaos.started:
                    training.end()
            say(f"{time.monotonic() - started:5.0f} s  {play.__name__}: " + "; ".join(filter(None, rows[-1][1:])))
    if arguments.output:
        arguments.output.write_text(report(rows, arguments, (time.monotonic() - started) / 60))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
