"""Take from a training what it needs, one thing at a time; it has to finish all the same, with the same weights.

``make chaos-train`` runs it and leaves ``docs/chaos-train.md``. Every training is a driver process of its own. After
each: the weights' SHA-256 is that of an undisturbed run, the store has one run with every metric of every epoch once,
and no process is left. All waits are bounded.
"""

import argparse
import contextlib
import errno
import os
import platform
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from convoy.console import say

ROOT = Path(__file__).resolve().parent.parent
MARK = "CONVOY_CHAOS"  # environment variable by which a training's processes are known, whatever their parents are
EPOCHS = 16
METRICS = ("loss", "accuracy", "val_loss", "val_accuracy", "images_per_second", "learning_rate")
_RANK = "horovod.spark.task.gloo_exec_fn"
_EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"
_START_SECONDS = 180  # until a training has done some epochs
_ORPHAN_SECONDS = 30  # that processes have to end after their driver


class Broken(Exception):
    """A round did not end as it has to."""


class Skipped(Exception):
    """A round cannot be run on this machine."""


@dataclass(frozen=True)
class Outcome:
    """How a round ended.

    Attributes:
        seconds: From the fault to the end of the driver; where the driver itself was killed, of the resumed one.
        remark: What else was seen.
    """

    seconds: float
    remark: str


class Training:
    """A ``jobs/train.py`` as a process, with its log.

    Args:
        folder: Where it works; its log is appended to.
        arguments: Of the command, after the common ones.
        environment: More variables.
    """

    def __init__(self, folder: Path, arguments: Sequence[str], environment: dict[str, str] | None = None) -> None:
        self.mark, self.log = uuid.uuid4().hex, folder / "log.txt"
        self.started = time.monotonic()
        self.begin = self.log.stat().st_size if self.log.exists() else 0
        command = [sys.executable, str(ROOT / "jobs" / "train.py"), "--config", str(ROOT / "conf" / "digits.yaml")]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*command, *arguments],
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **(environment or {}), MARK: self.mark},
            )

    def text(self) -> str:
        """What it has printed."""
        return self.log.read_bytes()[self.begin :].decode(errors="replace")

    def epochs(self) -> int:
        """The last epoch that it has reported, from 1."""
        return max((int(number) for number in re.findall(r"^epoch (\d+)/", self.text(), re.MULTILINE)), default=0)

    def wait_for_epoch(self, epoch: int) -> None:
        """Wait until an epoch is done."""
        wait(lambda: self.epochs() >= epoch or self.process.poll() is not None, _START_SECONDS, f"epoch {epoch}")
        if self.process.poll() is not None:
            raise Broken(f"it ended with status {self.process.returncode} before the fault")

    def processes(self) -> list[psutil.Process]:
        """Its processes that run: the driver, JVMs, Spark's workers, ranks."""
        return [process for process in psutil.process_iter() if self._is_of_it(process)]

    def _is_of_it(self, process: psutil.Process) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == self.mark
        except psutil.Error:
            return False

    def with_argument(self, argument: str) -> list[psutil.Process]:
        """Its processes that have this argument."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if argument in process.cmdline():
                    found.append(process)
        return sorted(found, key=lambda process: process.pid)

    def wait(self, seconds: float) -> float:
        """Wait for its end, successful and with nothing left running; returns the seconds to the driver's end."""
        started = time.monotonic()
        wait(lambda: self.process.poll() is not None, seconds, "the end of the training")
        taken = time.monotonic() - started
        self.wait_for_orphans()
        if self.process.returncode != 0:
            raise Broken(f"it ended with status {self.process.returncode}")
        return taken

    def wait_for_orphans(self) -> float:
        """Wait until none of its processes runs; returns the seconds."""
        started = time.monotonic()
        wait(lambda: not self.processes(), _ORPHAN_SECONDS, "its processes to end")
        return time.monotonic() - started

    def end(self) -> None:
        """Kill whatever is left of it."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait()


def wait(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for a condition, raise ``Broken`` when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Broken(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.05)


class Chaos:
    """The rounds.

    Args:
        folder: Scratch.
        seed: Of the moments and the victims.
        limit: Seconds from a fault to the end.
    """

    def __init__(self, folder: Path, seed: int, limit: float) -> None:
        self.folder, self.limit, self.random = folder, limit, random.Random(seed)
        self.store = folder / "mlflow.db"
        self.whole = ""
        self.started: list[Training] = []

    def ingest(self) -> None:
        """Make the dataset."""
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
        """Start a training; trainings of one name go on with each other's checkpoints."""
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
        """Wait for a moment drawn by chance, some epochs into a training."""
        training.wait_for_epoch(self.random.randint(3, 8))
        time.sleep(self.random.uniform(0, 0.5))

    def check(self, name: str, store: Path | None = None) -> None:
        """Raise ``Broken`` unless the store has one finished run of that experiment, whole, with the right weights."""
        with contextlib.closing(sqlite3.connect(store or self.store)) as connection:
            runs = connection.execute(
                "select run_uuid, status from runs join experiments using (experiment_id) where experiments.name = ?",
                (name,),
            ).fetchall()
            if [status for _, status in runs] != ["FINISHED"]:
                raise Broken(f"the store has runs with status {[status for _, status in runs]}, not one FINISHED")
            logged = connection.execute(
                "select key, step, count(*) from metrics where run_uuid = ? group by key, step", (runs[0][0],)
            ).fetchall()
            counts = {(key, step): count for key, step, count in logged}
            for key in METRICS:
                for epoch in range(1, EPOCHS + 1):
                    if counts.get((key, epoch)) != 1:
                        raise Broken(f"{key} of epoch {epoch} is logged {counts.get((key, epoch), 0)} times")
            tags = connection.execute("select key, value from tags where run_uuid = ?", (runs[0][0],))
            sha256 = dict(tags.fetchall()).get("weights.sha256", "")
        if self.whole and sha256 != self.whole:
            raise Broken("the weights are others than the undisturbed run's")
        self.whole = sha256

    def run_id(self, name: str) -> str:
        """Id of the only run of an experiment."""
        with contextlib.closing(sqlite3.connect(self.store)) as connection:
            (row,) = connection.execute(
                "select run_uuid from runs join experiments using (experiment_id) where experiments.name = ?", (name,)
            )
        return str(row[0])

    def undisturbed(self) -> Outcome:
        """Nothing happens."""
        training = self.train("undisturbed")
        seconds = training.wait(_START_SECONDS)
        self.check("undisturbed")
        return Outcome(seconds, f"from start to end; the weights' SHA-256 is {self.whole[:12]}…")

    def killed_rank(self) -> Outcome:
        """SIGKILL of a rank."""
        return self._rank("killed-rank", signal.SIGKILL, "the ranks did not finish")

    def stopped_rank(self) -> Outcome:
        """SIGSTOP of a rank (`stall_timeout` 10 s)."""
        return self._rank("stopped-rank", signal.SIGSTOP, "no rank made progress", "--training.stall_timeout", "10")

    def _rank(self, name: str, number: int, reason: str, *arguments: str) -> Outcome:
        training = self.train(name, *arguments)
        self.strike(training)
        self.random.choice(training.with_argument(_RANK)).send_signal(number)
        return self._restarted(training, name, reason)

    def _restarted(self, training: Training, name: str, reason: str) -> Outcome:
        seconds = training.wait(self.limit)
        if f"warning: {reason}" not in training.text():
            raise Broken(f"it did not say {reason!r}")
        self.check(name)
        return Outcome(seconds, "started again, " + _resumed(training))

    def killed_executor(self) -> Outcome:
        """SIGKILL of an executor of `local-cluster[2,1,2048]`."""
        training = self.train("killed-executor", "--spark.master", "local-cluster[2,1,2048]")
        self.strike(training)
        self.random.choice(training.with_argument(_EXECUTOR)).kill()
        return self._restarted(training, "killed-executor", "the ranks did not finish")

    def killed_driver(self) -> Outcome:
        """SIGKILL of the driver alone, then `--resume`."""
        training = self.train("killed-driver")
        orphans = self._kill_driver(training)
        resumed = self.train("killed-driver", "--resume", self.run_id("killed-driver"))
        seconds = resumed.wait(self.limit)
        self.check("killed-driver")
        return Outcome(seconds, f"all its processes gone after {orphans:.1f} s; {_resumed(resumed)}")

    def _kill_driver(self, training: Training) -> float:
        self.strike(training)
        training.process.kill()
        training.process.wait()
        return training.wait_for_orphans()

    def damaged_checkpoints(self) -> Outcome:
        """SIGKILL of the driver, the newest checkpoint cut short; resumed, again, and a bit of the newest flipped."""
        name, remarks = "damaged-checkpoint", []
        training = self.train(name)
        for damage in (_cut, _flip):
            self._kill_driver(training)
            newest = max((training.log.parent / "checkpoints" / self.run_id(name)).glob("step-*"))
            damage(newest / "arrays.npz", self.random)
            training = self.train(name, "--resume", self.run_id(name))
            training.wait_for_epoch(1)
            if f"{newest.name} is damaged" not in training.text():
                raise Broken(f"the damaged checkpoint {newest.name} is not named")
            remarks.append(f"{newest.name} named, {_resumed(training)}")
        gone = time.monotonic() - training.started
        seconds = gone + training.wait(self.limit - gone)
        self.check(name)
        return Outcome(seconds, "; ".join(remarks))

    def full_disk(self) -> Outcome:
        """The checkpoints' disk is full."""
        disk = self.folder / "disk"
        with small_disk(disk):
            training = self.train("full-disk", "--training.checkpoint.folder", str(disk))
            self.strike(training)
            fill(disk / "ballast")
            seconds = training.wait(self.limit)
            warnings = training.text().count("warning: no checkpoint could be saved")
            if not warnings or "No space left" not in training.text():
                raise Broken("it did not say that no checkpoint can be saved")
        self.check("full-disk")
        return Outcome(seconds, f"went on without checkpoints, warnings: {warnings}")

    def killed_server(self) -> Outcome:
        """The tracking server is killed, and back on the same port 5 s later."""

        def away(server: Server) -> None:
            server.end()
            time.sleep(5)
            server.start()

        return self._without_server("killed-server", away)

    def stopped_server(self) -> Outcome:
        """The tracking server stands still (SIGSTOP) for 5 s."""

        def away(server: Server) -> None:
            server.send(signal.SIGSTOP)
            time.sleep(5)
            server.send(signal.SIGCONT)

        return self._without_server("stopped-server", away)

    def _without_server(self, name: str, away: Callable[["Server"], None]) -> Outcome:
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
            raise Broken("training stood still while the server was away")
        self.check(name, server.store)
        return Outcome(seconds, f"{done} epochs were trained while it was away")


class Server:
    """An MLflow server on a port of its own, with a SQLite store.

    Args:
        folder: Of the store and its log.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.store, self.uri = folder, folder / "server.db", f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [str(Path(sys.executable).with_name("mlflow")), "server", "--workers", "1", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--backend-store-uri", f"sqlite:///{self.store}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with open(self.folder / "log.txt", "ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )
        wait(self._answers, 60, "the tracking server")

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def send(self, number: int) -> None:
        """Send a signal to all of its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def end(self) -> None:
        """Kill it."""
        self.send(signal.SIGKILL)
        self.process.wait()


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """Mount a file system of 8 MiB, for which one has to be root."""
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(path)], capture_output=True, text=True
    )
    if mounted.returncode:
        raise Skipped(f"no file system can be mounted here ({mounted.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with open(path, "wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def _cut(path: Path, draw: random.Random) -> None:
    os.truncate(path, draw.randrange(path.stat().st_size))


def _flip(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def _resumed(training: Training) -> str:
    found = re.search(r"going on from the checkpoint in (epoch \d+, after step \d+)", training.text())
    if not found:
        raise Broken("it did not go on from a checkpoint")
    return f"went on in {found[1]}"


def report(rows: list[list[str]], arguments: argparse.Namespace, minutes: float) -> str:
    """The page that is kept."""
    return "\n".join(
        [
            "# Chaos: a training that loses what it needs",
            "",
            f"`make chaos-train` (seed {arguments.seed}), {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {minutes:.1f}"
            f" minutes, {os.cpu_count()} cores, {platform.system()}.",
            f"LeNet-5 on the embedded digits, two ranks, {EPOCHS} epochs. Each fault strikes after 3 to 8 epochs, at a",
            f"moment drawn by chance; the training has to end within {arguments.limit:.0f} s of it. Every line",
            "that says yes: the run finished, the weights' SHA-256 is that of the undisturbed run, the store has one",
            "run with every metric of every epoch exactly once, and no process was left.",
            "",
            "| fault | survived | seconds from fault to end | what was seen |",
            "| --- | --- | ---: | --- |",
            *("| " + " | ".join(row) + " |" for row in rows),
            "",
            "Where the driver was killed, the seconds are those of the resumed training.",
            "",
        ]
    )


def main() -> int:
    """Run the rounds; returns 1 if one did not end as it has to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=[], help="rounds to run, by name (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the victims (default: 0)")
    parser.add_argument("--limit", type=float, default=60, help="seconds from a fault to the end (default: 60)")
    parser.add_argument("--output", type=Path, help="Markdown file to leave the result in")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of every finally
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
