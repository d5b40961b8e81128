"""A Python worker dies while it scores: Spark tries again, and each row is there once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.long]

SCRIPT = """
import json, os, signal, sys
from collections import Counter
import convoy
from dataclasses import replace
from convoy.config import SparkConfig
from convoy.images import ImageProfile, quantile_bins
from convoy.monitoring.image_stats import image_stats_for
from convoy.models.package import TrainingStatistics
from convoy.cluster.spark import session
from tests.conftest import noise
from tests.inference.packages import package
from convoy.dataset.storage import raw

def die_once(batches, flag):
    from pyspark import TaskContext
    for batch in batches:
        yield batch
        if TaskContext.get().partitionId() == 1 and not os.path.exists(flag):
            open(flag, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)

flag, out = sys.argv[1:]
conf = {"spark.sql.execution.arrow.maxRecordsPerBatch": "50"}
with session("killed", SparkConfig(master="local[2,3]", conf=conf)) as spark:  # a task may fail three times
    spark.sparkContext.setLogLevel("OFF")
    values = raw.encode(noise(600, 8, 6, 3)).to_pylist()
    rows = spark.createDataFrame(list(enumerate(values)), "key int, image binary").repartition(2)
    # The worker that dies is the one that scores: Spark chains the two functions in one process.
    one = quantile_bins({0: 1})
    model = replace(package(), training=TrainingStatistics([], ImageProfile(one, one, one)))
    gauge = image_stats_for(spark, model)
    scored = convoy.score_images(rows, model, columns=["key"], gauge=gauge)
    scored = scored.mapInArrow(lambda batches: die_once(batches, flag), scored.schema)
    scored.write.parquet(out)
    found = Counter(row["key"] for row in spark.read.parquet(out).where("error is null").collect())
    measured = int(gauge.found()["brightness"].sum())
    print(json.dumps([os.path.exists(flag), len(found), max(found.values()), measured]))
"""


def test_rows_are_complete_and_none_is_there_twice(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "died"), str(tmp_path / "scores")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-2000:]
    died, rows, most, measured = json.loads(done.stdout.splitlines()[-1])
    assert (died, rows, most) == (True, 600, 1)
    assert measured == 600  # what a worker had counted before it died is not in it
