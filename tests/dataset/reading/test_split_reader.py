"""Batches hold exactly the samples that the plan says, whatever the cache, the codec and the number of ranks."""

import threading
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from convoy.cluster.memory import Memory
from convoy.config import DatasetConfig, ImageConfig, SourceConfig, StorageConfig
from convoy.dataset.ingest.build import ingest
from convoy.dataset.reading import split_reader as reader_module
from convoy.dataset.reading.epoch_plan import steps_per_epoch
from convoy.dataset.reading.examples import read_split
from convoy.dataset.reading.split_reader import ReadSettings, open_split
from convoy.dataset.reading.tf_data import to_tf
from convoy.dataset.sources import source_of
from convoy.errors import DatasetError
from tests.conftest import noise
from tests.dataset.epochs import BATCH, IMAGES, LABELS, NAMES, ROWS, WEIGHTS, WINDOW, epoch_of, joined, modes, opened
from tests.dataset.versions import write_arrays
from tests.spark_support import write_images


@modes
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_each_sample_comes_once_an_epoch_with_its_own_pixels(versions, codec, cache, ranks):
    reader = opened(versions, codec, cache, threads=2)
    steps = epoch_of(reader, 3, ranks)
    assert reader.samples == ROWS
    assert len(steps) == steps_per_epoch(ROWS, BATCH)
    seen = [part for step in steps for part in step]
    assert sorted(joined(seen, "rows")) == list(range(ROWS))
    for part in seen:
        assert part.images.dtype == np.uint8
        assert part.rows.dtype == np.int64
        assert part.labels.dtype == np.int32
        assert part.weights.dtype == np.float32
        np.testing.assert_array_equal(part.images, IMAGES[part.rows])
        np.testing.assert_array_equal(part.labels, LABELS[part.rows])
        np.testing.assert_array_equal(part.weights, WEIGHTS[part.rows])
        assert part.partners is None
        assert part.partner_labels is None


@modes
@pytest.mark.parametrize("balance", ["none", "oversample"])
@pytest.mark.parametrize("batch", [8, 20])  # 20: more than a window, and more than two of them
def test_ranks_share_the_batches_that_one_rank_sees(versions, codec, cache, balance, batch):
    reader = opened(versions, codec, cache, class_balance=balance, partners=True, seed=5)
    alone = [step[0] for step in epoch_of(reader, 2, 1, batch=batch)]
    for ranks in (2, 3):
        together = epoch_of(reader, 2, ranks, batch=batch)
        for parts, whole in zip(together, alone, strict=True):
            for name in NAMES:
                np.testing.assert_array_equal(joined(parts, name), getattr(whole, name), err_msg=name)
    for whole in alone:
        assert sorted(whole.partner_labels) == sorted(whole.labels)
        shift = [s for s in range(1, len(whole.rows)) if np.array_equal(np.roll(whole.images, s, 0), whole.partners)]
        assert shift
        np.testing.assert_array_equal(np.roll(whole.labels, shift[0]), whole.partner_labels)


@modes
def test_an_epoch_goes_on_from_any_step(versions, codec, cache):
    reader = opened(versions, codec, cache, partners=True)
    whole = epoch_of(reader, 1, 2)
    for first in range(len(whole) + 1):
        rest = epoch_of(reader, 1, 2, first)
        assert len(rest) == len(whole) - first
        for parts, expected in zip(rest, whole[first:], strict=True):
            for name in NAMES:
                np.testing.assert_array_equal(joined(parts, name), joined(expected, name))


@modes
def test_validation_reads_each_sample_once_in_stored_order(versions, codec, cache):
    reader = opened(versions, codec, cache, class_balance="oversample", partners=True)
    for ranks in (1, 3):
        steps = list(zip(*(list(reader.in_order(BATCH, r, ranks)) for r in range(ranks)), strict=True))
        parts = [part for step in steps for part in step]
        np.testing.assert_array_equal(joined(parts, "rows"), np.arange(ROWS))
        np.testing.assert_array_equal(joined(parts, "images"), IMAGES)
        np.testing.assert_array_equal(joined(parts, "labels"), LABELS)
        assert all(part.partners is None for part in parts)


@modes
def test_oversampled_classes_have_equally_many_samples(versions, codec, cache):
    reader = opened(versions, codec, cache, class_balance="oversample")
    largest = np.bincount(LABELS).max()
    for epoch in (0, 1):
        seen = [step[0] for step in epoch_of(reader, epoch)]
        labels = joined(seen, "labels")
        assert np.bincount(labels).tolist() == [largest, largest, 0, 0, largest]
        assert len(labels) == reader.samples == 3 * largest
        assert set(joined(seen, "rows")) == set(range(ROWS))
        np.testing.assert_array_equal(joined(seen, "images"), IMAGES[joined(seen, "rows")])


def test_streamed_samples_are_shuffled_within_windows_and_cached_ones_all_together(versions):
    group_of = np.arange(ROWS) // 5
    streamed, cached = (
        joined([step[0] for step in epoch_of(opened(versions, cache=c))], "rows") for c in ("none", "memory")
    )
    changes = [np.count_nonzero(np.diff(group_of[rows]) != 0) for rows in (streamed, cached)]
    assert len(set(group_of[streamed[:12]])) == 3
    assert len(set(group_of[cached[:12]])) > 3
    assert all(change > 10 for change in changes)


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_ranks_without_a_sample_get_an_empty_batch(versions, cache):
    reader = opened(versions, cache=cache, partners=True)
    steps = [list(reader.batches(0, 46, rank, 4)) for rank in range(4)]  # the last batch has one sample
    assert [len(batches[-1].rows) for batches in steps] == [0, 0, 0, 1]
    empty = steps[0][-1]
    assert empty.images.shape == empty.partners.shape == (0, 6, 5, 3)
    assert empty.images.dtype == np.uint8
    assert len(empty.labels) == len(empty.weights) == len(empty.partner_labels) == 0
    [alone] = [batches[-1] for batches in steps[3:]]
    np.testing.assert_array_equal(alone.images, alone.partners)  # there is nobody else


@pytest.mark.parametrize("cache", ["memory", "none"])
@pytest.mark.parametrize(("dtype", "shape"), [("float32", (7, 2)), ("uint16", (4, 4, 4, 1)), ("float64", (3,))])
def test_arrays_of_other_types_and_shapes(tmp_path, cache, dtype, shape):
    arrays = np.random.default_rng(0).uniform(0, 999, (23, *shape)).astype(dtype)
    labels = np.arange(23, dtype=np.int32) % 3
    manifest = write_arrays(tmp_path, "train", arrays, labels)
    reader = open_split(tmp_path, manifest, "train", ReadSettings(cache, window_mb=1e-4))
    parts = [part for step in epoch_of(reader, 0, 2) for part in step]
    assert joined(parts, "images").dtype == dtype
    np.testing.assert_array_equal(joined(parts, "images"), arrays[joined(parts, "rows")])
    assert {part.weights is None for part in parts} == {True}
    [batch] = to_tf(lambda: reader.batches(0, 23, 0, 1), reader.first()).as_numpy_iterator()
    assert batch.keys() == {"images", "labels", "rows"}
    assert batch["images"].dtype == dtype
    np.testing.assert_array_equal(batch["images"], arrays[batch["rows"]])


@pytest.mark.parametrize("codec", ["raw", "png"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_streaming_holds_two_windows_and_what_is_read_ahead(tmp_path, codec, ranks):
    rows, sample = 2000, 40 * 40 * 3
    manifest = write_arrays(tmp_path, "train", noise(rows, 40, 40, 3), np.zeros(rows, np.int32), None, codec, 20, 5)
    window, batch = 100, 16
    settings = ReadSettings("none", window_mb=window * sample / 2**20)
    reader = open_split(tmp_path, manifest, "train", settings)
    tracemalloc.start()
    try:
        before, count, arrow = pa.total_allocated_bytes(), 0, 0
        for part in reader.batches(0, batch, 0, ranks):
            count += len(part.rows)
            arrow = max(arrow, pa.total_allocated_bytes() - before)
        # Encoded images stay in Arrow's memory; pixels of codec raw only pass through it (see the last test).
        peak = tracemalloc.get_traced_memory()[1] + (arrow if codec == "png" else 0)
    finally:
        tracemalloc.stop()
    assert count == rows // ranks
    # The third window is the one that is read ahead while a batch lies in two; random pixels do not compress. Where a
    # rank takes a part of a row group, both are there for a moment.
    stored = sample if codec == "raw" else sample + 400  # with a PNG's headers, and the object that views it
    assert peak < 3 * window * stored / ranks + 5 * batch * sample / ranks + ranks * 20 * stored + 2**17
    assert peak > window * sample / ranks  # that it was measured


@pytest.mark.parametrize("codec", ["raw", "png"])
def test_only_the_row_groups_of_the_rest_of_the_epoch_are_read(versions, codec, tmp_path):
    """A step near the end needs the last windows alone: the files of the others may even be gone."""
    folder, manifest = versions[codec]
    copy = tmp_path / codec
    (copy / "train").mkdir(parents=True)
    for path in (folder / "train").iterdir():
        (copy / "train" / path.name).write_bytes(path.read_bytes())
    reader = open_split(copy, manifest, "train", ReadSettings("none", window_mb=WINDOW))
    whole = epoch_of(reader, 0)
    last = whole[-1][0]
    needed = {row // 10 for row in last.rows}
    for number in set(range(5)) - needed:
        (copy / "train" / f"part-{number:05d}.parquet").unlink()
    [[rest]] = epoch_of(reader, 0, 1, len(whole) - 1)
    np.testing.assert_array_equal(rest.images, last.images)


def test_auto_keeps_small_splits_in_memory_and_streams_large_ones(versions, monkeypatch):
    assert opened(versions, cache="auto").in_memory
    monkeypatch.setattr(reader_module, "AUTO_BYTES", IMAGES.nbytes - 1)
    assert not opened(versions, cache="auto").in_memory


def test_a_split_larger_than_memory_is_refused_with_what_to_do(versions, monkeypatch):
    full = Memory(2 * IMAGES.nbytes, IMAGES.nbytes)
    monkeypatch.setattr("convoy.dataset.reading.examples.memory", lambda: full)
    with pytest.raises(DatasetError, match=r"training\.cache to none"):
        opened(versions, cache="memory")
    assert len(epoch_of(opened(versions))) == 6


@pytest.mark.parametrize("codec", ["raw", "png"])
def test_an_epoch_that_is_given_up_leaves_no_thread(versions, codec):
    before = set(threading.enumerate())
    reader = opened(versions, codec, threads=3)
    batches = reader.batches(0, BATCH, 0, 1)
    next(batches)
    assert set(threading.enumerate()) - before
    batches.close()
    reader.close()
    assert not set(threading.enumerate()) - before


@pytest.mark.spark
@pytest.mark.parametrize(("codec", "kind"), [("png", "PNG"), ("jpeg", "JPEG")])
def test_an_ingested_dataset_is_read_as_it_was_stored(spark, tmp_path, codec, kind):
    write_images(tmp_path / "images", {"cat": 30, "dog": 20}, (16, 16, 3), kind)
    image, storage = ImageConfig(height=16, width=16, channels=3), StorageConfig(codec=codec)
    config = DatasetConfig(root=str(tmp_path / "data"), name="pets", image=image, storage=storage)
    source = source_of(SourceConfig("folder", str(tmp_path / "images")))
    result = ingest(spark, source, config, lambda *_: None)
    expected = read_split(result.path, result.manifest, "train")
    for cache in ("memory", "none"):
        reader = open_split(result.path, result.manifest, "train", ReadSettings(cache, window_mb=0.01, threads=2))
        parts = [part for step in epoch_of(reader, 1, 2) for part in step]
        rows = joined(parts, "rows")
        assert sorted(rows) == list(range(len(expected)))
        np.testing.assert_array_equal(joined(parts, "images"), expected.images[rows])
        np.testing.assert_array_equal(joined(parts, "labels"), expected.labels[rows])


def test_arrow_reads_no_more_than_a_row_group_at_a_time(tmp_path):
    rows, sample = 400, 64 * 64 * 3
    manifest = write_arrays(tmp_path, "train", noise(rows, 64, 64, 3), np.zeros(rows, np.int32), None, "raw", 20, 5)
    reader = open_split(tmp_path, manifest, "train", ReadSettings("none", window_mb=100 * sample / 2**20))
    usual = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(usual)  # counts what is read here alone
    pa.set_memory_pool(pool)
    try:
        held = [pool.bytes_allocated() for _ in reader.batches(0, 16, 0, 1)]
    finally:
        pa.set_memory_pool(usual)
    assert pool.max_memory() > 0
    assert max(held) < 3 * 20 * sample
