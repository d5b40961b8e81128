"""Environment variables of the ranks with Horovod's settings, and a check of what this Horovod supports."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath

from convoy.config import HorovodConfig
from convoy.errors import ClusterError

# These are valid on the driver's machine only; a rank has those of its Spark task.
_OF_THE_MACHINE = re.compile(
    "CUDA_VISIBLE_DEVICES|HOME|HOSTNAME|JAVA_HOME|LD_LIBRARY_PATH|LD_PRELOAD|LOGNAME|OLDPWD|PATH|PWD|PYTHONHOME|PYTHONPATH"
    "|SHELL|TEMP|TMP|TMPDIR|USER|VIRTUAL_ENV|(CONDA|HADOOP|KUBERNETES|PYSPARK|SPARK|YARN)_.*"
)


def driver_environment(environment: Mapping[str, str], local: bool, shipped: Sequence[str] = ()) -> dict[str, str]:
    """Return the part of the driver's environment that ranks get: settings and credentials, but no local paths.

    Args:
        environment: The driver's environment.
        local: Whether ranks run on the driver's machine; then they get all of it.
        shipped: Names of the files given with ``--py-files``, which executors have in their working folder; Spark adds
            them to the path of its Python workers only.
    """
    if local:
        return dict(environment)
    kept = {name: value for name, value in environment.items() if not _OF_THE_MACHINE.fullmatch(name)}
    return kept | ({"PYTHONPATH": ":".join(f"./{PurePath(file).name}" for file in shipped)} if shipped else {})


def horovod_environment(config: HorovodConfig) -> dict[str, str]:
    """Return Horovod's environment variables for the ranks; see https://horovod.readthedocs.io."""
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
    """Raise ``ClusterError`` if Adasum is configured and Horovod has no MPI.

    Horovod 0.28.1 registers its Adasum operations only if MPI is built and enabled (``CreateOperationManager`` in
    horovod/common/operations.cc); over Gloo the ranks fail with "No Adasum operation enabled".

    Args:
        config: Section ``training.horovod``.
        mpi_built: Whether Horovod has MPI; called only for Adasum, since Horovod loads TensorFlow.
    """
    if config.reduction == "adasum" and not mpi_built():
        raise ClusterError(
            "training.horovod.reduction is 'adasum', which Horovod supports with MPI only, and this Horovod is built"
            " without it; build it with HOROVOD_WITH_MPI=1, or use reduction average"
        )
