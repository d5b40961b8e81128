"""Checks of a session that Convoy did not create: whether it is a classic one, and which Python its workers run."""

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pyspark

from convoy.errors import ClusterError

_CLASSIC = (
    "Convoy needs a classic Spark session: run it on the driver, by spark-submit, or on a cluster with dedicated"
    " (single user) access mode"
)

if not hasattr(pyspark, "SparkContext"):  # the package pyspark-client
    raise ClusterError(f"the installed PySpark is a client of Spark Connect, which is not supported yet; {_CLASSIC}")

_NEEDED = ("convoy", "keras", "numpy", "pandas", "pyarrow")  # by Python workers that score or ingest
_PROBE = (
    "import importlib.util as u, json, sys;"
    f"print(json.dumps(['%d.%d' % sys.version_info[:2], [n for n in {_NEEDED!r} if u.find_spec(n) is None]]))"
)
_PROBE_SECONDS = 60


def check_session(spark: Any) -> None:
    """Raise an error for a session that Convoy cannot work with.

    Args:
        spark: A SparkSession, or a DataFrame.

    Raises:
        ClusterError: It is a session of Spark Connect, or its Python workers lack Convoy.
    """
    if type(spark).__module__.startswith("pyspark.sql.connect"):
        raise ClusterError(f"this is a session of Spark Connect, which is not supported yet; {_CLASSIC}")
    context = getattr(spark, "sparkSession", spark).sparkContext
    if str(context.master).startswith("local") and sys.executable:
        from pyspark import SparkFiles

        shipped = [os.path.join(SparkFiles.getRootDirectory(), name) for name in context._python_includes or ()]
        if problem := worker_python_problem(str(context.pythonExec), os.pathsep.join(shipped)):
            raise ClusterError(problem)


def refuse_connect(properties: Mapping[str, str], master: str, environment: Mapping[str, str] | None = None) -> None:
    """Raise an error if the next session would be one of Spark Connect.

    Args:
        properties: Spark properties.
        master: ``spark.master``.
        environment: The environment; None is that of the process.

    Raises:
        ClusterError: A variable, a property or the master says so; the message names it.
    """
    environment = os.environ if environment is None else environment
    given = [
        ("SPARK_REMOTE", environment.get("SPARK_REMOTE", "")),
        ("SPARK_CONNECT_MODE_ENABLED", environment.get("SPARK_CONNECT_MODE_ENABLED", "")),  # set by PySpark itself
        ("SPARK_API_MODE", mode if (mode := environment.get("SPARK_API_MODE", "")).lower() == "connect" else ""),
        ("spark.conf spark.remote", properties.get("spark.remote", "")),
        ("spark.conf spark.api.mode", mode if (mode := properties.get("spark.api.mode", "")) == "connect" else ""),
        ("spark.master", master if master.startswith("sc://") else ""),
    ]
    for name, value in given:
        if value:
            fix = "unset it" if name.isupper() else "remove it"
            raise ClusterError(f"{name} is {value!r}: Spark Connect is not supported yet; {fix}: {_CLASSIC}")


@functools.cache
def worker_python_problem(executable: str, path: str = "", own: str | None = None) -> str | None:
    """Return why Spark's Python workers on this machine cannot run Convoy, and how to fix it; None if they can.

    Args:
        executable: Name or path of the workers' Python; Spark looks a name up in PATH.
        path: Further module search path of the workers.
        own: Path of this program's Python; None is ``sys.executable``.
    """
    own = own or sys.executable
    found = shutil.which(executable)
    if found is None:
        reason = "which does not exist"
    elif os.path.dirname(os.path.abspath(found)) == os.path.dirname(os.path.abspath(own)):
        return None
    else:
        search = os.pathsep.join(filter(None, [path, os.environ.get("PYTHONPATH", "")]))
        environment = {**os.environ, "PYTHONPATH": search}
        command = [found, "-c", _PROBE]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS, env=environment)
            version, missing = json.loads(done.stdout)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            reason = "which does not run"
        else:
            this = f"{sys.version_info[0]}.{sys.version_info[1]}"
            if not missing and version == this:
                return None
            reason = f"which has no {', '.join(missing)}" if missing else f"Python {version} instead of {this}"
    return (
        f"Spark's Python workers run {found or executable!r}, {reason}; this program runs {own!r}. Set"
        f" PYSPARK_PYTHON to it before the session is created: export PYSPARK_PYTHON={own}"
    )
