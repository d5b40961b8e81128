"""Checks of a session that Convoy did not create: which Python its workers run, and whether they have Convoy."""

import functools
import json
import os
import shutil
import subprocess
import sys
from typing import Any

from convoy.cluster.connect import NEEDED, check_remote
from convoy.cluster.session_facts import is_connect
from convoy.errors import ClusterError

_PROBE = (
    "import importlib.util as u, json, sys;"
    f"print(json.dumps(['%d.%d' % sys.version_info[:2], [n for n in {NEEDED!r} if u.find_spec(n) is None]]))"
)
_PROBE_SECONDS = 60


def check_session(spark: Any) -> None:
    """Raise an error for a session that Convoy cannot work with.

    Args:
        spark: A SparkSession, or a DataFrame.

    Raises:
        ClusterError: Its Python workers lack Convoy, or it is a session of Spark Connect whose server is too old.
    """
    session = getattr(spark, "sparkSession", spark)
    if is_connect(session):
        check_remote(session)
        return
    context = session.sparkContext
    if str(context.master).startswith("local") and sys.executable:
        from pyspark import SparkFiles

        shipped = [os.path.join(SparkFiles.getRootDirectory(), name) for name in context._python_includes or ()]
        if problem := worker_python_problem(str(context.pythonExec), os.pathsep.join(shipped)):
            raise ClusterError(problem)


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
