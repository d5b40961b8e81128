"""``convoy.spark_session``: the active session, or a new one that lasts; an interrupt cancels what runs in it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import convoy

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, signal, threading, time
import convoy
from convoy.cluster.spark import session, slots_now

config = convoy.load(overrides={"spark.master": "local[2]"})
spark = convoy.spark_session(config)
found = {"same": convoy.spark_session(config) is spark}
with session("train", config.spark) as used:
    found["used"] = used is spark
found["lasts"] = spark.range(3).count()

def wait(rows):
    time.sleep(600)
    yield from rows

threading.Timer(3, lambda: signal.raise_signal(signal.SIGINT)).start()
try:
    with session("train", config.spark) as used:
        used.range(2).rdd.mapPartitions(wait).count()
except KeyboardInterrupt:
    tracker = spark.sparkContext.statusTracker()
    for _ in range(600):
        if not tracker.getActiveJobsIds():
            break
        time.sleep(0.1)
    found["running"] = len(tracker.getActiveJobsIds())
found["goes_on"] = spark.range(4).count()
print(json.dumps(found))
"""


@pytest.mark.spark
def test_the_active_session_is_returned_as_it_is(spark):
    assert convoy.spark_session() is spark


@pytest.mark.e2e
@pytest.mark.long
def test_a_new_session_lasts_and_an_interrupt_leaves_it_usable(tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout.splitlines()[-1])
    assert found == {"same": True, "used": True, "lasts": 3, "running": 0, "goes_on": 4}
