"""How a session is built under spark-submit, where a JVM with its own properties is there already."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.spark, pytest.mark.e2e, pytest.mark.long]

PROBE = """
import json
from convoy.config import SparkConfig
from convoy.cluster.spark import session, slots

config = SparkConfig(master="local[7]", conf={"spark.sql.shuffle.partitions": "70", "spark.probe": "file"})
with session("probe", config) as spark:
    conf = spark.sparkContext.getConf()
    names = ["spark.master", "spark.sql.shuffle.partitions", "spark.probe", "spark.executorEnv.TF_ENABLE_ONEDNN_OPTS"]
    seen = {name: conf.get(name) for name in names}
    print(json.dumps({**seen, "slots": slots(spark, 99)}))
"""


def test_what_is_given_to_spark_submit_wins_over_the_configuration(tmp_path):
    (tmp_path / "probe.py").write_text(PROBE)
    spark_submit = Path(sys.executable).with_name("spark-submit")
    command = [spark_submit, "--master", "local[3]", "--conf", "spark.sql.shuffle.partitions=5", "probe.py"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYSPARK", "SPARK_"))}
    environment["TF_ENABLE_ONEDNN_OPTS"] = "0"
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200)
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "spark.master": "local[3]",
        "spark.sql.shuffle.partitions": "5",
        "spark.probe": "file",
        "spark.executorEnv.TF_ENABLE_ONEDNN_OPTS": "0",  # what the user sets on the driver counts on executors
        "slots": 3,
    }, done.stderr
