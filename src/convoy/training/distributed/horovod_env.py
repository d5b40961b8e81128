"""Environment variables of the ranks: the driver's, and Horovod's settings."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from convoy.config import HorovodConfig

# These are valid on the driver's machine only; a rank has those of its Spark task.
_OF_THE_MACHINE = re.compile(
    "CUDA_VISIBLE_DEVICES|HOME|HOSTNAME|JAVA_HOME|LD_LIBRARY_PATH|LD_PRELOAD|LOGNAME|OLDPWD|PATH|PWD|PYTHONHOME|PYTHONPATH"
    "|SHELL|TEMP|TMP|TMPDIR|USER|VIRTUAL_ENV|(CONDA|HADOOP|KUBERNETES|PYSPARK|SPARK|YARN)_.*"
)

# Ranks do not use MLflow, so the address of its server and the credentials for it stay on the driver.
_OF_THE_DRIVER = re.compile(
    r"MLFLOW_(TRACKING|REGISTRY|EXPERIMENT|RUN)_.*|DATABRICKS_(TOKEN|PASSWORD|USERNAME|CLIENT_ID|CLIENT_SECRET|CONFIG_.*)"
)


def driver_environment(environment: Mapping[str, str], local: bool, shipped: Sequence[str] = ()) -> dict[str, str]:
    """Return the part of the driver's environment that ranks get: no local paths, nothing for MLflow.

    Args:
        environment: The driver's environment.
        local: Whether ranks run on the driver's machine; then they get local paths too.
        shipped: Names of the files given with ``--py-files``, which executors have in their working folder; Spark adds
            them to the path of its Python workers only.
    """
    hidden = [name for name in environment if _OF_THE_DRIVER.fullmatch(name)]
    environment = without_tracking(environment)
    if local:  # a rank inherits its Spark task's environment, which may be the driver's
        return environment | dict.fromkeys(hidden, "")
    kept = {name: value for name, value in environment.items() if not _OF_THE_MACHINE.fullmatch(name)}
    return kept | ({"PYTHONPATH": ":".join(f"./{PurePath(file).name}" for file in shipped)} if shipped else {})


def without_tracking(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the address of the tracking server and the credentials for it."""
    return {name: value for name, value in environment.items() if not _OF_THE_DRIVER.fullmatch(name)}


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
