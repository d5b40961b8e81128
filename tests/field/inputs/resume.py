"""Runs whose driver is gone, as a killed process leaves them in the tracking store."""

import json
import subprocess
import sys

import mlflow
from mlflow.tracking import MlflowClient

from convoy.tracking import connection, liveness

_OPEN = """
import sys, time
from mlflow.tracking import MlflowClient
from convoy.tracking import connection, liveness

connection.connect(sys.argv[1])
client = MlflowClient()
run = client.create_run(connection.experiment_id("lost"), run_name=sys.argv[2])
for name, value in liveness.tags().items():
    client.set_tag(run.info.run_id, name, value)
print(run.info.run_id, flush=True)
time.sleep(600)
"""


def running_driver(uri: str, name: str = "running") -> tuple[str, subprocess.Popen]:
    """Start a process that opens a run and goes on; returns (run id, the process)."""
    command = [sys.executable, "-c", _OPEN, uri, name]
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    return process.stdout.readline().strip(), process


def killed_driver(uri: str) -> str:
    """Return the id of a run whose driver was killed."""
    run_id, process = running_driver(uri, "killed")
    process.kill()
    process.communicate()
    return run_id


def on_another_machine(uri: str, silent_for: float) -> str:
    """Return the id of a run whose driver is on another machine, and has been silent for some seconds."""
    connection.connect(uri)
    client: MlflowClient = mlflow.MlflowClient()
    run_id = client.create_run(connection.experiment_id("lost"), run_name="elsewhere").info.run_id
    tags = liveness.tags()
    client.set_tag(run_id, liveness.DRIVER, json.dumps({**json.loads(tags[liveness.DRIVER]), "machine": "another"}))
    client.set_tag(run_id, liveness.HEARTBEAT, str(int(tags[liveness.HEARTBEAT]) - round(1000 * silent_for)))
    return run_id


def with_ids(uri: str, *ids: str) -> None:
    """Give the runs of a SQLite store ids that begin alike, which MLflow draws at random."""
    import sqlite3

    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        old = [row[0] for row in database.execute("SELECT run_uuid FROM runs ORDER BY start_time")]
        for before, after in zip(old, ids, strict=True):
            for table in ("runs", "tags", "params", "metrics", "latest_metrics"):
                database.execute(f"UPDATE {table} SET run_uuid = ? WHERE run_uuid = ?", (after, before))
