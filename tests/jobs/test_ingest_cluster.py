"""Ingest with executors in processes of their own, which have nothing of the driver's but what Spark sends them."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from convoy.dataset.reading.examples import read_split
from convoy.dataset.storage.manifest import Manifest
from convoy.dataset.storage.verify import verify
from convoy.images import Geometry, prepare
from tests.spark_support import QUICK, write_images

ROOT = Path(__file__).resolve().parents[2]
SPARK_SUBMIT = Path(sys.executable).with_name("spark-submit")

pytestmark = [pytest.mark.e2e, pytest.mark.long]


def test_a_folder_is_ingested_on_a_local_cluster(tmp_path):
    images = tmp_path / "some images"
    write_images(images / "train", {"cat": 60, "dog": 40}, (12, 9, 3), "JPEG")
    write_images(images / "test", {"cat": 10, "dog": 10}, (8, 8, 3), seed=1)
    (images / "train" / "dog" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    command = [SPARK_SUBMIT, "--master", "local-cluster[2,1,2048]", "--driver-java-options", QUICK]
    command += ["--conf", f"spark.executor.extraJavaOptions={QUICK}", ROOT / "jobs" / "ingest.py"]
    command += ["--config", ROOT / "conf" / "cifar10.yaml", "--source.path", images]
    command += ["--dataset.image", '{"height": 8, "width": 8, "channels": 3, "resize": "letterbox"}']
    done = subprocess.run([*map(str, command)], cwd=tmp_path, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    path = tmp_path / result["path"]
    assert verify(path) == []
    assert result["rows"]["test"] == 20
    assert result["rows"]["train"] + result["rows"]["validation"] == 100
    assert [row["path"] for row in pq.read_table(path / "quarantine").to_pylist()] == ["train/dog/broken.png"]
    manifest, geometry = Manifest.load(path), Geometry(8, 8, 3, "letterbox")
    for split in manifest.splits:
        names = pq.read_table(path / split, columns=["path"]).column("path").to_pylist()
        for name, pixels in zip(names, read_split(path, manifest, split).images, strict=True):
            assert (pixels == prepare((images / name).read_bytes(), geometry)).all()
