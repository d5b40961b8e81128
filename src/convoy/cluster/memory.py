"""Memory that a process may use: that of the machine, of its control groups (containers), and its own limit."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from convoy.cluster.control_groups import finder

_UNITS = {"": 2**20, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}
_LEAST_OVERHEAD = 384 << 20  # of Spark: spark.executor.minMemoryOverhead


@dataclass(frozen=True)
class Memory:
    """Memory of a machine or container, in bytes.

    Attributes:
        total: All of it.
        available: What is left now, page cache included; processes in the container share it.
        process: What is left of the process's own limit on its address space, as Spark sets it for
            ``spark.executor.pyspark.memory``; None without one.
    """

    total: int
    available: int
    process: int | None = None

    def share(self, processes: int, reserved: int = 0) -> int:
        """Return what each of several such processes may use, without the ``reserved`` bytes of the total."""
        share = min(self.available, max(0, self.total - reserved)) // max(1, processes)
        return share if self.process is None else min(share, self.process)


def memory(root: str = "/") -> Memory:
    """Return the memory of this process.

    Args:
        root: Folder that holds ``proc`` and ``sys``.
    """
    return Memory(**question()(root))  # type: ignore[arg-type]


def question() -> Callable[[str], dict[str, int | None]]:
    """Return the function that measures ``Memory``'s fields. It is local, so Spark sends its code to executors."""
    groups = finder()

    def measure(root: str = "/") -> dict[str, int | None]:
        import os
        import resource

        def text(*path: str) -> str:
            try:
                with open(os.path.join(*path)) as file:
                    return file.read()
            except OSError:
                return ""

        def number(*path: str) -> int | None:
            value = text(*path).strip()
            return int(value) if value.isdigit() else None

        def fields(content: str) -> dict[str, int]:
            words = [line.replace(":", " ").split() for line in content.splitlines()]
            return {line[0]: int(line[1]) for line in words if len(line) > 1 and line[1].isdigit()}

        host = fields(text(root, "proc", "meminfo"))
        if "MemTotal" in host:
            total = host["MemTotal"] << 10
            available = host.get("MemAvailable", host["MemTotal"]) << 10
        else:  # not on Linux
            total = available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        # Files of a group's limits, use, and page cache that can be dropped, by version of the control groups.
        files = {
            1: (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
            2: (("memory.max", "memory.high"), "memory.current", "inactive_file"),
        }
        for folder, version in groups(root, "memory"):
            limit_files, use_file, cache = files[version]
            limits = [limit for name in limit_files if (limit := number(folder, name)) is not None]
            if not limits or min(limits) >= 1 << 60:  # no limit, in version 1
                continue
            total = min(total, *limits)
            used = number(folder, use_file) or 0
            dropped = fields(text(folder, "memory.stat")).get(cache, 0)
            available = min(available, max(0, min(limits) - max(0, used - dropped)))
        own, _ = resource.getrlimit(resource.RLIMIT_AS)
        process = None
        if own != resource.RLIM_INFINITY:
            used = fields(text(root, "proc", "self", "status")).get("VmSize", 0) << 10
            process = max(0, own - used)
        return {"total": total, "available": available, "process": process}

    return measure


def spark_bytes(value: str) -> int:
    """Return the bytes of a size in Spark's notation, e.g. ``512m``; a number alone is MiB."""
    match = re.fullmatch(r"\s*(\d+)\s*([bkmgtp]?)b?\s*", value.lower())
    return int(match[1]) * _UNITS[match[2]] if match else 0


def heap_bytes(conf: Mapping[str, str], master: str) -> int:
    """Return the size up to which the heap of the JVM grows that runs beside the Python processes of a machine.

    Args:
        conf: Spark properties.
        master: ``spark.master``.
    """
    return spark_bytes(conf.get(f"spark.{'driver' if master.startswith('local') else 'executor'}.memory", "1g"))


def container_share(conf: Mapping[str, str], master: str) -> int | None:
    """Return the bytes that Spark requests for each Python process of a YARN or Kubernetes container.

    A container holds the JVM's heap, ``spark.executor.memory``, and what is requested beside it. It is killed when its
    processes take more together. Other masters do not limit Python processes by ``spark.executor.memory``.

    Args:
        conf: Spark properties.
        master: ``spark.master``.

    Returns:
        The bytes; None if Spark does not limit them.
    """
    if not master.startswith(("yarn", "k8s")):
        return None
    heap = spark_bytes(conf.get("spark.executor.memory", "1g"))
    usual = "0.4" if master.startswith("k8s") else "0.1"  # of an application in Python
    factor = float(conf.get("spark.executor.memoryOverheadFactor", usual) or usual)
    given = conf.get("spark.executor.memoryOverhead")
    overhead = spark_bytes(given) if given else max(_LEAST_OVERHEAD, int(heap * factor))
    python = spark_bytes(conf.get("spark.executor.pyspark.memory", "0"))
    tasks = int(conf.get("spark.executor.cores", "1") or 1) // int(conf.get("spark.task.cpus", "1") or 1)
    return (overhead + python) // max(1, tasks)
