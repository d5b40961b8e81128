"""Collection of facts about this machine, the tracking store, Spark and its executors. All waits are bounded."""

import os
import threading
from contextlib import suppress
from pathlib import Path

import convoy
from convoy.cluster.compatibility import installed, version_of
from convoy.cluster.connectivity import listening
from convoy.cluster.preflight import ask
from convoy.cluster.session_facts import is_connect, parallelism
from convoy.cluster.spark import driver_addresses, is_local, session, slots
from convoy.config import Config
from convoy.config.locations import is_object_url, stored_absolute
from convoy.dataset.storage import catalog
from convoy.dataset.storage.filesystem import missing_operations
from convoy.dataset.storage.manifest import NAME as MANIFEST
from convoy.doctor.facts import Cluster, Facts
from convoy.doctor.pins import Pins
from convoy.doctor.probe import host_of, probe_of
from convoy.errors import ClusterError, ConvoyError, DatasetError
from convoy.tracking import connection
from convoy.tracking.artifact_store import check_experiment
from convoy.tracking.connection import first_line
from convoy.training.checkpoint.resume import checkpoint_folder

_ANSWER_SECONDS = 180.0  # an archive of the environment is unpacked first, then TensorFlow is loaded
_MOST_TASKS = 512


def gather(config: Config, pins: Pins) -> Facts:
    """Gather the facts for ``checks``; takes about ten seconds, mostly to load TensorFlow, MLflow and Spark."""
    version_path = _version_path(config)
    manifest = "" if version_path is None else f"{version_path}/{MANIFEST}"
    folders = stored_absolute(config.dataset.root), checkpoint_folder(config.training, "")
    here = host_of(next(probe_of(manifest, folders[0], folders[1].rstrip("/"), thorough=True)([])))
    tracking, problem = "", None
    try:
        tracking = connection.look(config.tracking.uri)
        if tracking == connection.ANSWERS:
            check_experiment(config.tracking.experiment)
    except ConvoyError as error:
        problem = str(error)
    return Facts(
        convoy=f"{convoy.__version__} from {Path(convoy.__file__).parent}",
        packages={**installed(), **{name: version_of(name) for name in pins.tested}},
        driver=here,
        version_path=version_path,
        tracking=tracking,
        tracking_problem=problem,
        cluster=_cluster(config, manifest, here.dataset.path, here.checkpoints.path),
        missing=_missing(config),
    )


def _missing(config: Config) -> dict[str, tuple[str, ...]]:
    """Try the operations that publishing uses in each folder that jobs write to."""
    folders = {"dataset.root": config.dataset.root, "training.checkpoint.folder": config.training.checkpoint.folder}
    if not config.scoring.output.startswith("table:"):
        folders["scoring.output"] = os.path.dirname(stored_absolute(config.scoring.output))
    found = {}
    for field, folder in folders.items():
        if is_object_url(folder):  # whose writers need none of them
            continue
        with suppress(OSError):  # it cannot be written to: its own check reports that
            found[field] = missing_operations(Path(folder).expanduser().absolute())
    return found


def _version_path(config: Config) -> str | None:
    try:
        return str(catalog.find(config.dataset.root, config.dataset.name, config.dataset.version))
    except (DatasetError, OSError):  # an unreadable root has its own check
        return None


def _cluster(config: Config, manifest: str, dataset: str, checkpoints: str) -> Cluster:
    master, java = config.spark.master, None
    try:
        with session("doctor", config.spark) as spark:
            if is_connect(spark):
                return Cluster(f"Spark Connect {spark.version}", None, parallelism(spark), remote=True)
            context = spark.sparkContext
            master = str(context.master)
            java = str(context._jvm.java.lang.System.getProperty("java.version"))  # type: ignore[union-attr]
            available = slots(spark, max(1, config.training.num_workers))
            if not available:
                return Cluster(master, java)
            here = is_local(master)
            limit = threading.Timer(_ANSWER_SECONDS, context.cancelAllJobs)
            limit.start()
            try:
                tasks = min(available, _MOST_TASKS)
                with listening(*driver_addresses(spark), tasks) as meeting:
                    probe = probe_of(manifest, dataset, checkpoints, thorough=not here, meeting=meeting)
                    answers = ask(spark, tasks, probe)
            except ClusterError as error:
                late = not limit.is_alive()
                problem = f"the executors do not respond within {_ANSWER_SECONDS:g} s" if late else str(error)
                return Cluster(master, java, available, problem=problem)
            finally:
                limit.cancel()
            return Cluster(master, java, available, tuple(host_of(answer) for answer in answers))
    except Exception as error:  # any failure of Spark: the other findings are still worth showing
        return Cluster(master, java, problem=first_line(error))
