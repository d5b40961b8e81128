"""Kill the driver of an ingest repeatedly at random times and check that readers never see a broken version.

``make chaos-ingest`` runs this script and writes ``docs/chaos.md``. After every kill, each visible version is verified
and ``latest`` is opened. At the end, one undisturbed run must succeed and leave only complete versions. With ``--root``
the datasets are in an object store, with ``--moto`` in one that is started for it.
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
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from convoy.console import Table, say
from convoy.dataset.storage import catalog
from convoy.dataset.storage.filesystem import location
from convoy.dataset.storage.verify import verify

ROOT = Path(__file__).resolve().parent.parent
NAME = "chaos"
HIDDEN = ".*"


@dataclass(frozen=True)
class Killed:
    """The result of one round: the phase at the kill, and whether the run had published its version."""

    phase: str
    published: bool


class Chaos:
    """A folder of images that grows by one image per round, its dataset, and methods that start and kill the ingest."""

    def __init__(self, folder: Path, root: str, images: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.pixels = np.random.default_rng(seed)
        self.folder, self.images, self.home = folder, folder / "images", location(root) / NAME
        for _ in range(images):
            self.add_image()

    def add_image(self) -> None:
        """Add an image, so that the next ingest writes a new version."""
        count = sum(1 for _ in self.images.glob("*/*.png"))
        path = self.images / f"class{count % 4}" / f"{count}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.pixels.integers(0, 256, (32, 32, 3), np.uint8)).save(path)

    def start(self) -> "subprocess.Popen[bytes]":
        """Start an ingest in a new process session."""
        command = [sys.executable, str(ROOT / "jobs" / "ingest.py"), "--source.path", str(self.images)]
        command += ["--dataset.root", str(self.home.parent), "--dataset.name", NAME, "--spark.master", "local[2]"]
        with open(self.folder / "log.txt", "ab") as log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)

    def hidden(self) -> set[str]:
        """Return the hidden folders of the dataset: staging folders and leftovers of killed writers."""
        return {path.name for path in self.home.glob(HIDDEN)}

    def undisturbed(self) -> tuple[float, float]:
        """Run an ingest to its end; return (total seconds, seconds since its staging folder appeared)."""
        before, started, staged = self.hidden(), time.monotonic(), None
        driver = self.start()
        while driver.poll() is None:
            if staged is None and self.hidden() - before:
                staged = time.monotonic()
            time.sleep(0.01)
        if driver.returncode != 0:
            sys.exit(f"an undisturbed ingest failed; see {self.folder}/log.txt")
        return time.monotonic() - started, time.monotonic() - (staged or time.monotonic())

    def kill_one(self, whole: float, writing: float) -> Killed:
        """Start an ingest and kill it.

        The time of the kill is drawn with probability 1/2 from the whole run, else from the writing phase. With
        probability 1/2 the whole process group is killed, else only the driver, so that its JVM must exit by itself.
        """
        before, versions = self.hidden(), set(catalog.versions(str(self.home.parent), NAME))
        anywhere, group = self.random.random() < 0.5, self.random.random() < 0.5
        delay = self.random.uniform(0, whole if anywhere else writing)
        driver = self.start()
        if not anywhere:
            while driver.poll() is None and not self.hidden() - before:
                time.sleep(0.002)
        deadline = time.monotonic() + delay
        while driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        staged = self.hidden() - before
        if driver.poll() is not None:
            phase = "after the end"
        elif group:
            os.killpg(driver.pid, signal.SIGKILL)
        else:
            driver.kill()
        driver.wait()
        published = bool(set(catalog.versions(str(self.home.parent), NAME)) - versions)
        if driver.returncode == -signal.SIGKILL:
            phase = "published, shutting down" if published else "writing" if staged else "before writing"
        return Killed(phase, published)

    def check(self) -> list[str]:
        """Verify all visible versions and ``latest``; return the problems."""
        root = str(self.home.parent)
        versions = catalog.versions(root, NAME)
        problems = [f"{version}: {problem}" for version in versions for problem in verify(self.home / version)]
        if versions and (latest := catalog.find(root, NAME, "latest").name) not in versions:
            problems.append(f"latest is {latest}, which is not visible")
        return problems

    def wait_for_orphans(self, seconds: float = 60) -> int:
        """Wait until no other process has this working folder; return how many still have it after ``seconds``."""
        deadline = time.monotonic() + seconds
        while (count := sum(map(self._is_ours, psutil.process_iter()))) and time.monotonic() < deadline:
            time.sleep(0.2)
        return count

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.pid != os.getpid() and process.cwd() == str(self.folder)
        except psutil.Error:
            return False


def start_store(stack: ExitStack) -> str:
    """Start an S3 server that ends with the stack; return a URL in its bucket."""
    sys.path.insert(0, str(ROOT))
    from tests.object_store import BUCKET, environment, server

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="convoy-s3-")))
    os.environ.update(environment(stack.enter_context(server(folder))))
    return f"s3://{BUCKET}/datasets"


def report(rounds: list[Killed], arguments: argparse.Namespace, minutes: float, facts: list[list[str]]) -> str:
    """Return the text of ``docs/chaos.md``."""
    phases = Counter(killed.phase for killed in rounds)
    order = ("before writing", "writing", "published, shutting down", "after the end")
    lines = [f"| {phase} | {phases[phase]} |" for phase in order]
    return "\n".join(
        [
            "# Chaos test: ingest with a killed driver",
            "",
            f"`make chaos-ingest` ({len(rounds)} rounds, seed {arguments.seed}, {arguments.images} images and one"
            f" more each round, {minutes:.1f} minutes, {os.cpu_count()} cores, {platform.system()}). Each round",
            "starts an ingest of a new version and kills its driver with SIGKILL at a random time, together with its",
            "JVM or alone. The next round starts immediately. After every kill, every visible version was verified",
            "(all checksums recomputed, all counts compared) and `latest` was opened.",
            "",
            "| phase at the kill | rounds |",
            "| --- | ---: |",
            *lines,
            "",
            "| result | |",
            "| --- | ---: |",
            *(f"| {name} | {value} |" for name, value in facts),
            "",
        ]
    )


def main() -> int:
    """Run the rounds; return 1 if there was any problem, else 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=50, help="number of drivers to kill (default: 50)")
    parser.add_argument("--images", type=int, default=200, help="images at the start (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the kill times (default: 0)")
    parser.add_argument("--minutes", type=float, default=60, help="start no round after these minutes (default: 60)")
    parser.add_argument("--root", help="dataset.root (default: a temporary folder), e.g. s3://bucket/chaos")
    parser.add_argument("--moto", action="store_true", help="start moto's S3 server and put the datasets there")
    parser.add_argument("--output", type=Path, help="Markdown file for the result")
    arguments = parser.parse_args()
    started = time.monotonic()
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="convoy-chaos-"))).resolve()
        root = arguments.root or str(place / "datasets")
        if arguments.moto:
            root = start_store(stack)
        chaos = Chaos(place, root, arguments.images, arguments.seed)
        whole, writing = chaos.undisturbed()
        say(f"an undisturbed ingest takes {whole:.1f} s, of which {writing:.1f} s after its staging folder appears")
        rounds, problems, checks, most = [], [], 0, 0
        for number in range(1, arguments.rounds + 1):
            if time.monotonic() - started > 60 * arguments.minutes:
                break
            chaos.add_image()
            rounds.append(chaos.kill_one(whole, writing))
            problems += [f"round {number}: {problem}" for problem in chaos.check()]
            checks += len(catalog.versions(str(chaos.home.parent), NAME))
            most = max(most, len(chaos.hidden()))
            say(f"{number:3d}  {rounds[-1].phase:24s} hidden {len(chaos.hidden())}, problems so far {len(problems)}")
        orphans = chaos.wait_for_orphans()
        chaos.add_image()
        chaos.undisturbed()
        problems += [f"at the end: {problem}" for problem in chaos.check()]
        problems += [f"at the end: {name} is left over" for name in sorted(chaos.hidden())]
        problems += [f"{orphans} processes were still running a minute after their drivers"] * bool(orphans)
        facts = [
            ["visible versions at the end", str(len(catalog.versions(str(chaos.home.parent), NAME)))],
            ["version verifications", str(checks)],
            ["maximum number of leftover folders", str(most)],
            ["leftover folders after the last run", str(len(chaos.hidden()))],
            ["problems", str(len(problems))],
        ]
    say("", Table(facts))
    for problem in problems:
        say(problem)
    if arguments.output:
        arguments.output.write_text(report(rounds, arguments, (time.monotonic() - started) / 60, facts))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
