"""Cores that a process may use: those that it may run on, and the share of time that its control groups allow."""

from collections.abc import Callable

from convoy.cluster.control_groups import finder


def cores(root: str = "/", allowed: int | None = None) -> int:
    """Return the number of cores of this process, at least 1; a part of a core counts as a whole one.

    Args:
        root: Folder that holds ``proc`` and ``sys``.
        allowed: Number of cores in the process's affinity mask; None reads it.
    """
    return question()(root, allowed)


def own_threads() -> int:
    """Return the number of threads for TensorFlow in this process; 0 if TensorFlow counts the same cores by itself.

    It counts the affinity mask, not the share of time that control groups allow: in a container with two of 64 cores it
    would start 64 threads.
    """
    found = cores()
    return found if found < _affinity() else 0


def _affinity() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def question() -> Callable[[str, int | None], int]:
    """Return the function that counts the cores. It is local, so Spark sends its code to executors."""
    groups = finder()

    def count(root: str = "/", allowed: int | None = None) -> int:
        import math
        import os

        def words(*path: str) -> list[str]:
            try:
                with open(os.path.join(*path)) as file:
                    return file.read().split()
            except OSError:
                return []

        def listed(text: list[str]) -> int:  # such as 0-3,8
            ranges = [part.partition("-") for part in "".join(text).split(",") if part]
            return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)

        if allowed is None:
            allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        limits = [allowed]
        for folder, version in groups(root, "cpu"):
            if version == 2:
                quota, period = (*words(folder, "cpu.max"), "max", "100000")[:2]
            else:
                quota, period = "".join(words(folder, "cpu.cfs_quota_us")), "".join(words(folder, "cpu.cfs_period_us"))
            if quota.isdigit() and period.isdigit() and int(period):  # "max" and -1 are no limit
                limits.append(math.ceil(int(quota) / int(period)))
        for folder, version in groups(root, "cpuset"):
            names = ("cpuset.cpus.effective",) if version == 2 else ("cpuset.effective_cpus", "cpuset.cpus")
            limits += [number for name in names if (number := listed(words(folder, name)))]
        return max(1, min(limits))

    return count
