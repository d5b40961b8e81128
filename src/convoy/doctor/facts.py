"""What is known of the machines before it is judged."""

from dataclasses import dataclass

from convoy.cluster.preflight import Machine
from convoy.training.distributed.toolkit import Toolkit


@dataclass(frozen=True)
class Folder:
    """A folder, or where it is missing the nearest one above it, in which it would be made.

    Attributes:
        path: Absolute, as asked for.
        exists: Whether it is there.
        readable: Whether its entries can be listed.
        writable: Whether files can be made in it.
        free_mb: Free space, in MiB.
    """

    path: str
    exists: bool
    readable: bool
    writable: bool
    free_mb: int


@dataclass(frozen=True)
class Host:
    """A machine as a Python process on it sees it.

    Attributes:
        machine: What jobs ask for before they start.
        python: Its version, ``3.11.7``.
        cores: That this process may use.
        memory_mb: Of the machine, or of the container it runs in, in MiB.
        gpu: Whether there is an NVIDIA device.
        toolkit: TensorFlow and Horovod; None where they were not asked.
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
    """Spark, as it was started for this.

    Attributes:
        master: Its URL.
        java: Version of the Java that the driver runs on; None where Spark does not start.
        slots: Tasks that it can run at once.
        hosts: What the executors answered; a host may come several times.
        problem: Why it does not start, or its executors do not answer; None where they do.
    """

    master: str
    java: str | None
    slots: int = 0
    hosts: tuple[Host, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class Facts:
    """All of it.

    Attributes:
        convoy: Version, and the folder that it is imported from.
        packages: Installed versions, by name; None where one is missing.
        driver: The machine that this runs on.
        version_path: Folder of the dataset version that is configured; None where there is none yet.
        tracking: What there is to say of the tracking store that works.
        tracking_problem: Why it does not; None where it does.
        cluster: Spark.
    """

    convoy: str
    packages: dict[str, str | None]
    driver: Host
    version_path: str | None
    tracking: str
    tracking_problem: str | None
    cluster: Cluster
