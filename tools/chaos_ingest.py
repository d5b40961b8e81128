"""Kill the driver of an ingest at random moments, again and again; nothing that readers see may ever be broken.

``make chaos-ingest`` runs it and leaves ``docs/chaos.md``. After every kill each visible version is verified, and
``latest`` opened; at the end one undisturbed run has to succeed and leave nothing but whole versions.
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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from convoy.console import say, table
from convoy.dataset import catalog
from convoy.dataset.verify import verify

ROOT = Path(__file__).resolve().parent.parent
NAME = "chaos"
HIDDEN = ".*"


@dataclass(frozen=True)
class Killed:
    """One round: what there was at the moment of the kill, and whether that very run's version had appeared."""

    phase: str
    published: bool


class Chaos:
    """A folder of images that grows by one each round, the dataset made of it, and the ways to end its driver."""

    def __init__(self, folder: Path, images: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.pixels = np.random.default_rng(seed)
        self.folder, self.images, self.home = folder, folder / "images", folder / "datasets" / NAME
        for _ in range(images):
            self.add_image()

    def add_image(self) -> None:
        """One more image is another version."""
        count = sum(1 for _ in self.images.glob("*/*.png"))
        path = self.images / f"class{count % 4}" / f"{count}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.pixels.integers(0, 256, (32, 32, 3), np.uint8)).save(path)

    def start(self) -> "subprocess.Popen[bytes]":
        """Start an ingest in its own session."""
        command = [sys.executable, str(ROOT / "jobs" / "ingest.py"), "--source.path", str(self.images)]
        command += ["--dataset.root", str(self.home.parent), "--dataset.name", NAME, "--spark.master", "local[2]"]
        with open(self.folder / "log.txt", "ab") as log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)

    def hidden(self) -> set[str]:
        """What writers have left or are working in."""
        return {path.name for path in self.home.glob(HIDDEN)}

    def undisturbed(self) -> tuple[float, float]:
        """Run to the end; returns (seconds in all, seconds since its staging folder appeared)."""
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

        Every second moment is drawn from the whole run, the others from the time in which it writes; every second
        time, on average, only the driver is killed and its JVM left to find out by itself, else the whole group.
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
            phase = "after its end"
        elif group:
            os.killpg(driver.pid, signal.SIGKILL)
        else:
            driver.kill()
        driver.wait()
        published = bool(set(catalog.versions(str(self.home.parent), NAME)) - versions)
        if driver.returncode == -signal.SIGKILL:
            phase = "published, closing down" if published else "writing" if staged else "before writing"
        return Killed(phase, published)

    def check(self) -> list[str]:
        """Problems of everything that readers can see now."""
        root = str(self.home.parent)
        versions = catalog.versions(root, NAME)
        problems = [f"{version}: {problem}" for version in versions for problem in verify(self.home / version)]
        if versions and (latest := catalog.find(root, NAME, "latest").name) not in versions:
            problems.append(f"latest is {latest}, which is not visible")
        return problems

    def wait_for_orphans(self, seconds: float = 60) -> int:
        """Wait until no process has the images' folder in its command or works in this folder; returns how many do."""
        deadline = time.monotonic() + seconds
        while (count := sum(map(self._is_ours, psutil.process_iter()))) and time.monotonic() < deadline:
            time.sleep(0.2)
        return count

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.pid != os.getpid() and process.cwd() == str(self.folder)
        except psutil.Error:
            return False


def report(rounds: list[Killed], arguments: argparse.Namespace, minutes: float, facts: list[list[str]]) -> str:
    """The page that is kept."""
    phases = Counter(killed.phase for killed in rounds)
    order = ("before writing", "writing", "published, closing down", "after its end")
    lines = [f"| {phase} | {phases[phase]} |" for phase in order]
    return "\n".join(
        [
            "# Chaos: an ingest that is killed again and again",
            "",
            f"`make chaos-ingest` ({len(rounds)} rounds, seed {arguments.seed}, {arguments.images} images and one"
            f" more each round, {minutes:.1f} minutes, {os.cpu_count()} cores, {platform.system()}). In each round an",
            "ingest of a new version is started and its driver killed with SIGKILL at a random moment, together with",
            "its JVM or alone; the next round starts at once. After every kill, every visible version was verified",
            "(all checksums read again, all counts compared) and `latest` opened.",
            "",
            "| where the kill struck | rounds |",
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
    """Run the rounds; returns 1 if anything was ever broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=50, help="how many drivers to kill (default: 50)")
    parser.add_argument("--images", type=int, default=200, help="images at the start (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--minutes", type=float, default=60, help="start no round after so long (default: 60)")
    parser.add_argument("--output", type=Path, help="Markdown file to leave the result in")
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="convoy-chaos-") as place:
        chaos = Chaos(Path(place).resolve(), arguments.images, arguments.seed)
        whole, writing = chaos.undisturbed()
        say(f"an undisturbed ingest takes {whole:.1f} s, {writing:.1f} s of them from its staging folder to its end")
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
        problems += [f"{orphans} processes outlived their drivers by a minute"] * bool(orphans)
        facts = [
            ["versions visible at the end", str(len(catalog.versions(str(chaos.home.parent), NAME)))],
            ["verifications of a version", str(checks)],
            ["most leftovers at any time", str(most)],
            ["leftovers after the last run", str(len(chaos.hidden()))],
            ["problems", str(len(problems))],
        ]
    say("\n" + table(facts))
    for problem in problems:
        say(problem)
    if arguments.output:
        arguments.output.write_text(report(rounds, arguments, (time.monotonic() - started) / 60, facts))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
