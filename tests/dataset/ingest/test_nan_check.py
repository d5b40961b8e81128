"""Samples that no network can compute with, in files that ingest did not write, are found and named."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from convoy.config import ModelConfig, TrainingConfig
from convoy.dataset.ingest.nan_check import first_not_finite
from convoy.dataset.storage import raw
from convoy.errors import TrainingError
from convoy.models.builder import build
from convoy.training.distributed.collective import SingleProcess
from convoy.training.loop import TrainTask, train
from tests.conftest import noise
from tests.dataset.versions import write_arrays

ROWS = 23  # row groups of 5, files of 10


def damage(folder, row, column, values):
    """Rewrite the file of a row with other values in it."""
    path = folder / "train" / f"part-{row // 10:05d}.parquet"
    table = pq.read_table(path)
    stored = table.column(column).to_pylist()
    stored[row % 10] = values
    index = table.schema.get_field_index(column)
    table = table.set_column(index, table.schema.field(index), pa.array(stored, table.schema.field(index).type))
    pq.write_table(table, path, row_group_size=5)


def arrays(dtype="float32"):
    values = np.random.default_rng(0).normal(size=(ROWS, 4, 3, 1)).astype(dtype)
    return values, np.zeros(ROWS, np.int32)


@pytest.mark.parametrize(
    ("dtype", "bad"), [("float32", np.nan), ("float32", -np.inf), ("float16", np.inf), ("float64", 1e39)]
)
def test_the_first_of_them_is_named(tmp_path, dtype, bad):
    images, labels = arrays(dtype)
    manifest = write_arrays(tmp_path, "train", images, labels)
    assert first_not_finite(tmp_path, manifest, "train") is None
    for row in (17, 21):
        images[row, 2, 1, 0] = bad
        damage(tmp_path, row, "image", raw.encode(images[row : row + 1])[0].as_py())
    assert first_not_finite(tmp_path, manifest, "train") == "17.png"
    assert first_not_finite(tmp_path, manifest, "train", seconds=-1) is None


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_weights_count_as_well(tmp_path, dtype):
    images = noise(ROWS, 4, 3, 1) if dtype == "uint8" else arrays()[0]
    manifest = write_arrays(tmp_path, "train", images, np.zeros(ROWS, np.int32), np.ones(ROWS, np.float32))
    assert first_not_finite(tmp_path, manifest, "train") is None
    damage(tmp_path, 8, "weight", float("nan"))
    assert first_not_finite(tmp_path, manifest, "train") == "8.png"


def test_the_largest_values_are_finite(tmp_path):
    images, labels = arrays("float64")
    images[3] = np.finfo(np.float32).max
    assert first_not_finite(tmp_path, write_arrays(tmp_path, "train", images, labels), "train") is None


@pytest.mark.train
def test_a_loss_that_is_not_a_number_names_the_sample_to_blame(tmp_path):
    values = np.random.default_rng(0).normal(size=(20, 4, 3, 1)).astype("float32")
    labels = np.arange(20, dtype=np.int32) % 3
    splits = {split: write_arrays(tmp_path, split, values, labels) for split in ("validation", "train")}
    manifest = replace(splits["train"], splits=splits["train"].splits | splits["validation"].splits)
    (tmp_path / "manifest.json").write_text(manifest.dumps())
    values[7, 1, 1, 0] = np.nan
    damage(tmp_path, 7, "image", raw.encode(values[7:8])[0].as_py())
    options = TrainingConfig(num_workers=0, epochs=1, global_batch_size=8)
    network = ModelConfig("own", layers=["flatten", {"dense": {"activation": "softmax"}}])
    task = TrainTask(str(tmp_path), network, options, build, 0)
    with pytest.raises(TrainingError, match=r"the loss is nan in epoch 1: training sample '7\.png'"):
        train(task, SingleProcess(), lambda _: None)
