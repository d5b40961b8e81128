"""Checks of the ranks' machines before training starts: one quick Spark task per rank, instead of a late failure."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from convoy.cluster import connectivity
from convoy.cluster.connectivity import Meeting
from convoy.cluster.memory import Memory, container_share, heap_bytes
from convoy.cluster.memory import question as memory_question
from convoy.cluster.session_facts import is_connect
from convoy.cluster.spark import driver_addresses
from convoy.cluster.spark_errors import INSTALL, failed_job
from convoy.errors import ClusterError, ConvoyError, DatasetError

# Ranks with other versions would compute different results; other versions of Spark use other messages.
_ALIKE = ("python", "convoy", "pyspark", "tensorflow", "keras", "horovod")
_SHARE = "put it on a shared file system, mounted at the same path everywhere"
_STORE = "give it the package s3fs and credentials for the store, as the driver has them"


@dataclass(frozen=True)
class Machine:
    """A machine, as seen by a Python process that runs on it.

    Attributes:
        host: Name of the host.
        versions: Versions of Python (``3.11``) and of packages, by name; None for a missing package.
        manifest: SHA-256 of the dataset version's manifest; None if it cannot be read.
        unreadable: Why the manifest cannot be read; None if it can be.
        unwritable: Why the checkpoint folder cannot be written to; None if it can be, or there is none.
        network: The host and its network namespace; processes in another one are reachable by address only.
        address: The address that the host's own name resolves to on it; None if it cannot be resolved.
        unreached: What it cannot reach (the driver or another worker), at which address and port, and why; None if
            it reaches both.
        memory: Fields of ``Memory``.
    """

    host: str
    versions: dict[str, str | None]
    manifest: str | None
    unreadable: str | None = None
    unwritable: str | None = None
    network: str = ""
    address: str | None = None
    unreached: str | None = None
    memory: dict[str, int | None] | None = None


def check_executors(spark: SparkSession, workers: int, manifest: str, checkpoint_folder: str | None) -> list[Machine]:
    """Raise an error unless every executor's machine matches the driver's; runs a Spark job of about a second.

    Args:
        spark: The session; it has ``workers`` slots (see ``elastic.ranks_to_start``), so each task gets its own slot.
        workers: Number of ranks; with 0, training runs in the driver and nothing is checked.
        manifest: Path of the dataset version's manifest, which every rank must be able to read.
        checkpoint_folder: Existing folder that ranks write checkpoints to; None for none.

    Returns:
        The machine of each rank; that of the driver if training runs there.

    Raises:
        ClusterError: An executor has other versions or lacks packages, cannot reach the driver or another executor,
            or cannot write to the checkpoint folder.
        DatasetError: An executor cannot read the dataset.
    """
    own = _machine(next(probe_of(manifest, checkpoint_folder)([])))
    if workers == 0:
        return [own]
    with connectivity.listening(*driver_addresses(spark), workers) as meeting:
        answers = ask(spark, workers, probe_of(manifest, checkpoint_folder, meeting))
    machines = [_machine(answer) for answer in answers]
    problem = first_problem(own, machines, manifest)
    if problem is not None:
        raise problem
    return machines


def memory_per_rank(spark: SparkSession, machines: Sequence[Machine]) -> int | None:
    """Return the bytes that each rank may use: the lowest of all limits; None if none is known.

    Args:
        spark: The session.
        machines: The machine of each rank; ranks with the same host share its memory.
    """
    ranks = Counter(machine.host for machine in machines)
    heap, requested = 0, None
    if not is_connect(spark):  # otherwise training runs in the client
        conf, master = dict(spark.sparkContext.getConf().getAll()), str(spark.sparkContext.master)
        heap, requested = heap_bytes(conf, master), container_share(conf, master)
    found = [(Memory(**each.memory), ranks[each.host]) for each in machines if each.memory]  # type: ignore[arg-type]
    shares = [memory.share(processes, heap) for memory, processes in found]
    if requested is not None:
        shares.append(requested)
    return min(shares, default=None)


def ask(spark: SparkSession, tasks: int, probe: Callable[[Iterable[int]], Iterator[str]]) -> list[str]:
    """Run a probe in ``tasks`` Spark tasks and return their answers; executors do not need Convoy for it.

    Raises:
        ClusterError: A task cannot run at all, or the job was cancelled.
    """
    try:
        return list(spark.sparkContext.parallelize(range(tasks), tasks).mapPartitions(probe).collect())
    except Exception as error:
        raise failed_job(str(error)) from None


def first_problem(driver: Machine, executors: Sequence[Machine], manifest: str) -> ConvoyError | None:
    """Return the first difference between executors and the driver that prevents training.

    Args:
        driver: The driver's machine.
        executors: One per rank; a host may occur several times.
        manifest: Path of the manifest of the dataset version, for the message.

    Returns:
        The error to raise, of the first host (by name) that has one, or None.
    """
    differing = {machine.host: found for machine in executors if (found := differences(driver, machine))}
    if differing:
        host, others = min(differing), len(differing) - 1
        more = f" (and {others} more host{'s' if others > 1 else ''})" if others else ""
        return ClusterError(f"host {host}{more} has {differing[host]}; {INSTALL}")
    if (alone := unreachable(executors)) is not None:
        return ClusterError(alone)
    for machine in sorted(executors, key=lambda machine: machine.host):
        if machine.unreached is not None:
            return ClusterError(connectivity.problem(machine.host, machine.unreached))
        missing = machine.manifest is None
        seen = f"cannot read {manifest} ({machine.unreadable})" if missing else f"has another {manifest}"
        if machine.manifest is None or machine.manifest != driver.manifest:
            stored = "://" in manifest
            return DatasetError(
                f"dataset.root must be a folder that every worker can read: host {machine.host} {seen};"
                f" {_STORE if stored else _SHARE}"
            )
        if machine.unwritable is not None:
            stored = "://" in machine.unwritable
            return ClusterError(
                f"checkpoints must go to a folder that every worker can write to: host {machine.host} cannot write"
                f" ({machine.unwritable}); {_STORE if stored else _SHARE}"
            )
    return None


def unreachable(executors: Sequence[Machine]) -> str | None:
    """Return a message about a host whose name resolves to an address that other hosts cannot reach, and how to fix it.

    Horovod 0.28.1 first connects the ranks over their common interface, and then again, for its process set, over the
    address that each host's name resolves to: ``GlooContext::InitializeForProcessSet``
    (horovod/common/gloo/gloo_context.cc) does not set an interface. If that is the loopback interface, one rank exits
    and the others wait for it.
    """
    if len({machine.network for machine in executors}) < 2:
        return None
    for machine in sorted(executors, key=lambda machine: (machine.host, machine.network)):
        if machine.address is None or machine.address == "::1" or machine.address.startswith("127."):
            stands = "nothing" if machine.address is None else machine.address
            return (
                f"host {machine.host}'s own name resolves to {stands} there, which no rank on another host can reach;"
                " map its name, in its /etc/hosts or in DNS, to the address that other hosts reach"
            )
    return None


def differences(driver: Machine, machine: Machine) -> str:
    """Return the machine's differing versions beside the driver's, e.g. ``keras 3.9 (driver: 3.15)``; or ``""``."""
    found = []
    for name, own in driver.versions.items():
        its = machine.versions.get(name)
        if own is not None and (its is None or (name in _ALIKE and its != own)):
            found.append(f"{f'no {name}' if its is None else f'{name} {its}'} (driver: {own})")
    return ", ".join(found)


def _machine(answer: str) -> Machine:
    return Machine(**json.loads(answer))


def probe_of(
    manifest: str, checkpoint_folder: str | None, meeting: Meeting | None = None
) -> Callable[[Iterable[int]], Iterator[str]]:
    """Return the function that a task runs. It is local, so Spark pickles its code: executors do not need Convoy."""
    reached, measured = connectivity.question(meeting), memory_question()

    def probe(_: Iterable[int]) -> Iterator[str]:
        import hashlib
        import json
        import os
        import socket
        import sys
        import uuid
        from importlib import import_module
        from importlib.metadata import PackageNotFoundError, version

        def installed(*names: str) -> str | None:
            for name in names:
                try:
                    return version(name)
                except PackageNotFoundError:
                    continue
            return None

        versions: dict[str, str | None] = {"python": f"{sys.version_info[0]}.{sys.version_info[1]}"}
        versions["tensorflow"] = installed("tensorflow", "tensorflow-cpu", "tensorflow-intel")
        for name in ("keras", "horovod", "numpy", "pyarrow", "petastorm"):
            versions[name] = installed(name)
        try:  # Spark installed on a cluster may have no metadata
            versions["pyspark"] = import_module("pyspark").__version__
        except ImportError:
            versions["pyspark"] = None
        try:  # shipped with --py-files, it has no metadata
            versions["convoy"] = import_module("convoy").__version__
        except ImportError:
            versions["convoy"] = None
        host = socket.gethostname()
        answer: dict[str, object] = {"host": host, "versions": versions, "manifest": None}
        try:
            answer["network"] = f"{host} {os.readlink('/proc/self/ns/net')}"
        except OSError:  # not on Linux
            answer["network"] = host
        try:
            answer["address"] = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0]
        except OSError:
            answer["address"] = None

        def store(url: str) -> Any:
            import fsspec

            return fsspec.filesystem(url.partition("://")[0], use_listings_cache=False)

        try:
            if "://" in manifest:
                answer["manifest"] = hashlib.sha256(store(manifest).cat_file(manifest)).hexdigest()
            else:
                with open(manifest, "rb") as file:
                    answer["manifest"] = hashlib.sha256(file.read()).hexdigest()
        except FileNotFoundError:
            answer["unreadable"] = "No such file or directory"
        except OSError as error:
            answer["unreadable"] = str(error.strerror or error)
        except Exception as error:  # a missing package; each store's own exceptions
            answer["unreadable"] = f"{type(error).__name__}: {error}"
        if checkpoint_folder is not None and "://" in checkpoint_folder:
            hidden = f"{checkpoint_folder.rstrip('/')}/.probe-{uuid.uuid4().hex}"
            try:
                store(hidden).pipe_file(hidden, b"0")
                store(hidden).rm_file(hidden)
            except Exception as error:
                answer["unwritable"] = f"{checkpoint_folder}: {error}"
        elif checkpoint_folder is not None:
            hidden = os.path.join(checkpoint_folder, f".probe-{uuid.uuid4().hex}")
            try:
                with open(hidden, "xb") as draft:
                    draft.write(b"0")
                os.remove(hidden)
            except OSError as error:
                answer["unwritable"] = f"{checkpoint_folder}: {error.strerror}"
        answer["unreached"] = reached()
        answer["memory"] = measured("/")
        yield json.dumps(answer)

    return probe
