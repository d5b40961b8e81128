"""Time and memory: rounds that interleave what is compared, and peaks of processes."""

import os
import re
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

Run = Callable[[Path], float | None]
"""Writes to a folder that does not exist yet; returns the seconds it took if it timed itself."""


def say(text: str) -> None:
    """Progress goes to stderr; stdout has the tables."""
    print(text, file=sys.stderr, flush=True)


def interleaved(
    runs: Mapping[str, Run], repetitions: int, scratch: Path, failures: type[Exception], warm_up: bool = True
) -> tuple[dict[str, list[float]], list[str]]:
    """Run all once to warm up, then all once per round: A B C, A B C, ...

    Args:
        runs: Name -> what to run.
        repetitions: Rounds that count.
        scratch: Folder for what is written; it is emptied after each run.
        failures: An exception of this type leaves a run out, with its message as a remark.
        warm_up: False for runs that warm up by themselves.

    Returns:
        Name -> seconds of each round, of those that did not fail; and a remark for each of those that did.
    """
    remarks = []
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(0 if warm_up else 1, repetitions + 1):
        for name in [name for name in runs if name in seconds]:
            try:
                took = timed(runs[name], scratch)
            except failures as error:
                remarks.append(f"Left out: {error}")
                say(f"  {remarks[-1]}")
                del seconds[name]
                continue
            say(f"  {f'round {round_}' if round_ else 'warm-up'}: {name} {took:.2f} s")
            if round_:
                seconds[name].append(took)
    return seconds, remarks


def timed(run: Run, scratch: Path) -> float:
    """Seconds of one run, from a quiet disk to a disk that is cleaned up again."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    os.sync()  # what the run before wrote is not to be written back in this one's time
    try:
        started = time.perf_counter()
        own = run(scratch / "out")
        return time.perf_counter() - started if own is None else own
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def ratios(ours: list[float], theirs: list[float]) -> str:
    """How many times as fast as theirs ours is: the median of the rounds' ratios, and the range."""
    each = [their / our for our, their in zip(ours, theirs, strict=True)]
    return f"{statistics.median(each):.2f} ({min(each):.2f} – {max(each):.2f})"


def peak_rss_mb(pid: int) -> float | None:
    """A process's peak resident memory so far in MiB, which Linux itself keeps; None when it is gone."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) / 1024 if found else None


@contextmanager
def watched_children(parent: int, every: float = 0.05) -> Iterator[dict[int, float]]:
    """Note the peak memory (MiB) of all processes below the parent, by process id, while the block runs."""
    peaks: dict[int, float] = {}
    stop = threading.Event()

    def watch() -> None:
        process = psutil.Process(parent)
        while True:
            last = stop.is_set()
            for child in process.children(recursive=True):
                if peak := peak_rss_mb(child.pid):
                    peaks[child.pid] = max(peak, peaks.get(child.pid, 0.0))
            if last:
                return
            stop.wait(every)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        stop.set()
        thread.join()
