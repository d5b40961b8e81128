"""Horovod's settings: what they are called there, and which of them this Horovod can do."""

from collections.abc import Callable

from convoy.config import HorovodConfig
from convoy.errors import ClusterError


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
