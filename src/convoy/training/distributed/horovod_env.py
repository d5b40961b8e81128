"""Horovod's settings: what they are called there, and which of them this Horovod can do."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath

from convoy.config import HorovodConfig
from convoy.errors import ClusterError

# What these say is true on the driver's machine alone; a rank has those of its own Spark task.
_OF_THE_MACHINE = re.compile(
    "CUDA_VISIBLE_DEVICES|HOME|HOSTNAME|JAVA_HOME|LD_LIBRARY_PATH|LD_PRELOAD|LOGNAME|OLDPWD|PATH|PWD|PYTHONHOME|PYTHONPATH"
    "|SHELL|TEMP|TMP|TMPDIR|USER|VIRTUAL_ENV|(CONDA|HADOOP|KUBERNETES|PYSPARK|SPARK|YARN)_.*"
)


def driver_environment(environment: Mapping[str, str], local: bool, shipped: Sequence[str] = ()) -> dict[str, str]:
    """Return what ranks get of the driver's environment: settings and credentials, but no paths of its machine.

    Args:
        environment: The driver's.
        local: Whether ranks run on the driver's machine; then they get all of it.
        shipped: Names of the files given with ``--py-files``, which executors have in their working folder; Spark puts
            them on the path of its own Python workers only.
    """
    if local:
        return dict(environment)
    kept = {name: value for name, value in environment.items() if not _OF_THE_MACHINE.fullmatch(name)}
    return kept | ({"PYTHONPATH": ":".join(f"./{PurePath(file).name}" for file in shipped)} if shipped else {})


def horovod_environment(config: HorovodConfig) -> dict[str, str]:
    """Return the environment variables for the ranks; https://horovod.readthedocs.io names them."""
    environment = {}
    if config.fusion_threshold_mb is not None:
        environment["HOROVOD_FUSION_THRESHOLD"] = str(round(config.fusion_threshold_mb * 2**20))
    if config.cycle_time_ms is not None:
        environment["HOROVOD_CYCLE_TIME"] = str(config.cycle_time_ms)
    if config.timeline is not None:
        environment["HOROVOD_TIMELINE"] = config.timeline
    return environment


def _mpi_built() -> bool:
    import horovod.tensorflow

    return bool(horovod.tensorflow.mpi_built())


def check_reduction(config: HorovodConfig, mpi_built: Callable[[], bool] = _mpi_built) -> None:
    """Raise ``ClusterError`` for Adasum where Horovod has no MPI.

    Horovod 0.28.1 registers its Adasum operations only where MPI is built and enabled (``CreateOperationManager`` in
    horovod/common/operations.cc); over Gloo the ranks end with "No Adasum operation enabled".

    Args:
        config: Section ``training.horovod``.
        mpi_built: Whether Horovod has MPI; called where the answer matters, since Horovod loads TensorFlow.
    """
    if config.reduction == "adasum" and not mpi_built():
        raise ClusterError(
            "training.horovod.reduction is 'adasum', which Horovod does over MPI alone, and this one is built without"
            " it; build it with HOROVOD_WITH_MPI=1, or use reduction average"
        )
