"""Sessions of Spark Connect: which settings lead to one, whether its server answers, and what its workers have."""

import importlib.util
import json
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyspark
from packaging.version import Version
from pyspark.sql import SparkSession

from convoy.cluster.spark_errors import reason_of
from convoy.console import say
from convoy.errors import ClusterError

FIRST = Version("4.0")
"""The first Spark whose Connect has all that Convoy needs."""
_ANSWER_SECONDS = 30.0
_LAST_MAJOR = 9  # of Spark; Databricks Connect begins with 13
_PACKAGES = ("grpc", "grpc_status", "google.rpc")
_CLASSIC = (
    "a classic session: run it on the driver by spark-submit, or on a cluster with dedicated (single user) access mode"
)
NEEDED = ("convoy", "keras", "numpy", "pandas", "pyarrow")  # by Python workers that score or ingest
_checked: set[str] = set()  # ids of sessions


def setting_of_connect(
    properties: Mapping[str, str], master: str, environment: Mapping[str, str] | None = None
) -> tuple[str, str] | None:
    """Return the setting that makes the next session one of Spark Connect.

    Args:
        properties: Spark properties.
        master: ``spark.master``.
        environment: The environment; None is that of the process.

    Returns:
        (name of the setting, address of the server, or the master of one to start in this process); None if there is
        no such setting.
    """
    environment = os.environ if environment is None else environment
    given = [
        ("SPARK_REMOTE", environment.get("SPARK_REMOTE", "")),
        ("spark.conf spark.remote", properties.get("spark.remote", "")),
        ("spark.master", master if master.startswith("sc://") else ""),
        ("SPARK_API_MODE", master if environment.get("SPARK_API_MODE", "").lower() == "connect" else ""),
        ("spark.conf spark.api.mode", master if properties.get("spark.api.mode", "").lower() == "connect" else ""),
    ]
    return next(((name, value) for name, value in given if value), None)


def classic_only(field: str, value: object, need: str, instead: str) -> ClusterError:
    """Return the error of a field that needs a classic session, for a session of Spark Connect.

    Args:
        field: Name of the field.
        value: Its value.
        need: What needs the session, with a verb.
        instead: What to do on a session of Spark Connect.
    """
    return ClusterError(
        f"{field} is {value!r}, and this is a session of Spark Connect: {need} a classic session; {instead}, or use"
        f" {_CLASSIC}"
    )


def open_remote(name: str, address: str, properties: Mapping[str, str]) -> SparkSession:
    """Return a session of a Connect server.

    Args:
        name: The setting with the address, for messages.
        address: ``sc://host:port`` with parameters; or a master, for a server in this process.
        properties: Properties of the session.

    Raises:
        ClusterError: The client's packages are missing, or the server does not answer.
    """
    if Version(pyspark.__version__) < FIRST:
        raise ClusterError(
            f"{name} is {shown(address)!r}: Convoy uses Spark Connect from Spark {FIRST} on, and PySpark is"
            f" {pyspark.__version__}; install a newer PySpark, or use {_CLASSIC}"
        )
    if missing := [package for package in _PACKAGES if not _is_there(package)]:
        raise ClusterError(
            f"{name} is {shown(address)!r}, and the client of Spark Connect needs packages that are missing"
            f' ({", ".join(missing)}): pip install "pyspark[connect]=={pyspark.__version__}"'
        )
    if address.startswith("sc://"):
        _check_answer(name, address)
    builder = SparkSession.builder.remote(address)
    for key, value in properties.items():
        if key not in ("spark.remote", "spark.api.mode"):
            builder = builder.config(key, value)
    try:
        with warnings.catch_warnings():  # static properties cannot be set in a session; a server here has them already
            warnings.filterwarnings("ignore", "Failed to set spark.")
            return builder.getOrCreate()
    except Exception as error:
        raise ClusterError(f"{name} {shown(address)!r}: there is no session: {reason_of(str(error))}") from error


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def _check_answer(name: str, address: str) -> None:
    """Raise ``ClusterError`` if no server of gRPC answers: Spark's client would try again for minutes."""
    import grpc  # type: ignore[import-untyped]
    from pyspark.sql.connect.client import DefaultChannelBuilder

    try:
        channel = DefaultChannelBuilder(address).toChannel()
    except Exception as error:
        raise ClusterError(
            f"{name} is {shown(address)!r}: {str(error).splitlines()[0]}; expected sc://host:port"
        ) from None
    try:
        grpc.channel_ready_future(channel).result(timeout=_ANSWER_SECONDS)
    except grpc.FutureTimeoutError:
        raise ClusterError(
            f"{name} {shown(address)!r} does not answer within {_ANSWER_SECONDS:g} s; start the server of Spark Connect"
            " (start-connect-server.sh), or correct the address, its port, or use_ssl"
        ) from None
    finally:
        channel.close()


def shown(address: str) -> str:
    """Return an address without its token and other credentials."""
    return re.sub(r"((?:token|x-[\w-]+|password|secret)=)[^;]*", r"\1[hidden]", address, flags=re.IGNORECASE)


def check_remote(spark: Any) -> None:
    """Raise an error for a session of Spark Connect that Convoy cannot work with; runs a small job once per session.

    Args:
        spark: The session.

    Raises:
        ClusterError: Its server is of an older Spark than this client, or its Python workers lack Convoy.
    """
    if spark.session_id in _checked:
        return
    try:
        server = str(spark.version)
    except Exception as error:
        raise ClusterError(f"the server of Spark Connect does not answer: {reason_of(str(error))}") from None
    problem, warning = version_problem(pyspark.__version__, server)
    if problem:
        raise ClusterError(problem)
    if warning:
        say(warning)
    try:
        [row] = spark.range(1).mapInArrow(_worker_probe(), "found string").collect()
    except Exception as error:
        raise ClusterError(
            f"the server of Spark Connect (Spark {server}) cannot run a Python function of this client (Python"
            f" {sys.version_info[0]}.{sys.version_info[1]}): {reason_of(str(error))}"
        ) from None
    if missing := _worker_problem(json.loads(row.found)):
        raise ClusterError(missing)
    _checked.add(spark.session_id)


def version_problem(client: str, server: str) -> tuple[str, str]:
    """Compare the version of PySpark with that of the server.

    Spark's protocol and the functions that a client sends are compatible with servers of the same or a newer minor
    version. Databricks' clients have numbers of their own, and are not compared.

    Returns:
        (why they do not work together, or empty; a warning, or empty).
    """
    own, other = (Version(re.match(r"\d+(\.\d+)*", text)[0]) for text in (client, server))  # type: ignore[index]
    if "databricks" in client or own.major > _LAST_MAJOR:
        own = other
    install = f'pip install "pyspark[connect]=={other.major}.{other.minor}.*"'
    here = f"the server of Spark Connect is Spark {server}, and this client is PySpark {client}"
    if other < FIRST:
        return f"{here}; expected a server of Spark {FIRST} or newer", ""
    if other.release[:2] < own.release[:2]:
        return f"{here}; expected a server of Spark {own.major}.{own.minor} or newer: {install}", ""
    if other.release[:2] > own.release[:2]:
        return "", f"warning: {here}; if something fails: {install}"
    return "", ""


def _worker_probe() -> Any:
    """Return the function that a worker runs. It is local, so Spark sends its code: workers do not need Convoy."""
    needed = NEEDED

    def probe(batches: Iterable[Any]) -> Iterator[Any]:
        import importlib.util
        import json
        from importlib import import_module

        import pyarrow

        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        version = None if "convoy" in missing else import_module("convoy").__version__
        for _ in batches:
            yield pyarrow.RecordBatch.from_pydict({"found": [json.dumps({"missing": missing, "convoy": version})]})

    return probe


def _worker_problem(found: Mapping[str, Any]) -> str | None:
    """Return why workers cannot run Convoy, and how to fix it; None if they can."""
    from convoy import __version__

    send = 'spark.addArtifacts("convoy.zip", pyfile=True) (see "Spark Connect" in docs/databricks.md)'
    missing = list(found["missing"])
    if missing == ["convoy"]:
        return f"this Spark Connect session's Python workers have no convoy; install it in their environment, or {send}"
    if missing:
        return (
            f"the Python workers of this Spark Connect session have no {', '.join(missing)}; install"
            f" {'them' if len(missing) > 1 else 'it'} in the environment of the server or cluster"
        )
    if found["convoy"] != __version__:
        return (
            f"the Python workers of this Spark Connect session have convoy {found['convoy']} (here: {__version__});"
            f" install the same version in their environment, or {send}"
        )
    return None
