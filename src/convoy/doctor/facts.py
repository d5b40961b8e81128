"""Facts about the machines, the input of the checks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from convoy.cluster.preflight import Machine
from convoy.training.distributed.toolkit import Toolkit


@dataclass(frozen=True)
class Folder:
    """A folder, or if it is missing, its nearest existing parent.

    Attributes:
        path: Absolute path of the requested folder.
        exists: Whether it exists.
        readable: Whether its entries can be listed.
        writable: Whether files can be created in it.
        free_mb: Free space, in MiB.
    """

    path: str
    exists: bool
    readable: bool
    writable: bool
    free_mb: int


@dataclass(frozen=True)
class Host:
    """A machine, as seen by a Python process that runs on it.

    Attributes:
        machine: The facts that jobs check before they start.
        python: Version of Python, e.g. ``3.11.7``.
        cores: Number of cores that this process may use.
        memory_mb: Memory of the machine, or of the container that the process runs in, in MiB.
        gpu: Whether there is an NVIDIA device.
        toolkit: TensorFlow and Horovod; None if they were not loaded.
        dataset: ``dataset.root``.
        checkpoints: ``training.checkpoint.folder``.
    """

    machine: Machine
    python: str
    cores: int
    memory_mb: int
    gpu: bool
    toolkit: Toolkit | None
    dataset: Folder
    checkpoints: Folder


@dataclass(frozen=True)
class Cluster:
    """Spark, as started for the checks.

    Attributes:
        master: The master URL.
        java: Version of the Java that the driver runs on; None if Spark does not start.
        slots: Number of tasks that Spark can run at once.
        hosts: Facts from the executors; a host may occur several times.
        problem: Why Spark does not start, or its executors do not respond; None if there is no problem.
        remote: Whether the session is one of Spark Connect; its executors are checked when it is created.
    """

    master: str
    java: str | None
    slots: int = 0
    hosts: tuple[Host, ...] = ()
    problem: str | None = None
    remote: bool = False


@dataclass(frozen=True)
class Facts:
    """All gathered facts.

    Attributes:
        convoy: Convoy's version, and the folder that it is imported from.
        packages: Installed versions, by name; None for a missing package.
        driver: The driver's machine.
        version_path: Folder of the configured dataset version; None if it does not exist yet.
        tracking: Description of a working tracking store.
        tracking_problem: Why the tracking store does not work; None if it does.
        cluster: Spark.
        missing: Field of a folder that jobs write to -> what its file system cannot do, in words.
    """

    convoy: str
    packages: dict[str, str | None]
    driver: Host
    version_path: str | None
    tracking: str
    tracking_problem: str | None
    cluster: Cluster
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
