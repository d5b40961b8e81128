"""Stock Petastorm with PyArrow 14 and NumPy 1, and Convoy's on current versions, read what the other has written.

``make test-stock`` makes the environment with stock Petastorm; ``STOCK_PETASTORM`` names another.
"""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from convoy.cluster.spark import find_java
from tests.conftest import noise
from tests.dataset.petastorm import stock
from tests.dataset.versions import write_arrays

pytestmark = [pytest.mark.stock, pytest.mark.spark]

ROOT = Path(__file__).parents[3]
PYTHON = Path(os.environ.get("STOCK_PETASTORM", ROOT / ".venv-stock")) / "bin" / "python"
ROWS = 25


def run_stock(*arguments):
    """Run ``stock.py`` in the other environment; return the JSON lines that it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYSPARK"))}
    environment |= {"PYSPARK_PYTHON": str(PYTHON), "SPARK_LOCAL_IP": "127.0.0.1"}
    if home := find_java(environment):
        environment["JAVA_HOME"] = home
    command = [str(PYTHON), stock.__file__, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def of_convoy(tmp_path_factory):
    """Case -> a split that Convoy has written, of each codec, and of arrays."""
    folder = tmp_path_factory.mktemp("convoy")
    labels = np.arange(ROWS, dtype=np.int32) % 3
    weights = np.linspace(0, 1, ROWS).astype(np.float32)
    cases = {"raw": noise(ROWS, 6, 5, 3), "png": noise(ROWS, 6, 5, 3)}
    cases |= {"grey": noise(ROWS, 6, 5, 1), "signals": np.random.default_rng(0).normal(size=(ROWS, 50, 2))}
    for case, images in cases.items():
        write_arrays(folder / case, "train", images, labels, weights, "png" if case == "png" else "raw")
    return folder, cases, labels


def test_stock_petastorm_reads_every_row_that_convoy_writes(of_convoy):
    folder, cases, labels = of_convoy
    for case, seen in zip(cases, run_stock("read", *(folder / case / "train" for case in cases)), strict=True):
        assert (seen["petastorm"], seen["numpy"]) == ("0.12.1", "1.23.5")
        assert seen["fields"] == ["digest", "image", "label", "path", "weight"]
        assert seen["batched"] == ROWS
        assert seen["rows"] == stock.read(folder / case / "train")["rows"]
        images = cases[case]
        assert {tuple(row[1]) for row in seen["rows"]} == {images.shape[1:]}
        assert {row[2] for row in seen["rows"]} == {images.dtype.name}
        label_of = {
            hashlib.sha256(image.tobytes()).hexdigest(): str(label) for image, label in zip(images, labels, strict=True)
        }
        assert {digest: label for label, _, _, digest in seen["rows"]} == label_of


def test_stock_petastorm_reads_what_materialize_dataset_writes_here_and_the_other_way_round(spark, tmp_path):
    stock.write(tmp_path / "new", spark)
    run_stock("write", tmp_path / "old")
    by_stock = run_stock("read", tmp_path / "new", tmp_path / "old")
    by_convoy = [stock.read(tmp_path / name) for name in ("new", "old")]
    assert {seen["numpy"] for seen in by_stock} == {"1.23.5"}
    assert {seen["numpy"] for seen in by_convoy} == {np.__version__}
    rows = by_stock[0]["rows"]
    assert len(rows) == 30
    for seen in (*by_stock, *by_convoy):
        assert seen["rows"] == rows
        assert seen["batched"] == 30
        assert seen["fields"] == ["image", "label", "name", "note", "values"]
        kinds = [(part["name"], part["type"], part["nullable"]) for part in seen["spark"]["fields"]]
        assert kinds == [
            ("label", "integer", False),
            ("name", "string", False),
            ("note", "string", True),
            ("image", "binary", False),
            ("values", "binary", False),
        ]
