"""Batches hold exactly the samples that the plan says, whatever the cache, the codec and the number of ranks."""

import threading
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from convoy.config import DatasetConfig, ImageConfig, SourceConfig, StorageConfig
from convoy.dataset import reader as reader_module
from convoy.dataset.ingest import ingest
from convoy.dataset.petastorm_reader import petastorm_batches
from convoy.dataset.plan import steps_per_epoch
from convoy.dataset.read import read_split
from convoy.dataset.reader import ReadSettings, open_split
from convoy.dataset.sources import source_of
from convoy.dataset.tf_batches import reading_errors, to_tf
from convoy.errors import DatasetError
from tests.conftest import noise
from tests.dataset.versions import write_arrays
from tests.spark_support import write_images

ROWS, BATCH = 47, 8  # the last batch has 7; row groups have 5, the last one 2
IMAGES = noise(ROWS, 6, 5, 3)
LABELS = np.random.default_rng(1).choice([0, 1, 4], ROWS, p=[0.6, 0.3, 0.1]).astype(np.int32)
WEIGHTS = np.random.default_rng(2).uniform(0.5, 2, ROWS).astype(np.float32)
WINDOW = 12 * 90 / 2**20  # MiB of 12 samples: three row groups


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Codec -> folder and manifest of the same pixels."""
    folder = tmp_path_factory.mktemp("versions")
    return {
        codec: (folder / codec, write_arrays(folder / codec, "train", IMAGES, LABELS, WEIGHTS, codec))
        for codec in ("raw", "png")
    }


def opened(versions, codec="raw", cache="none", **settings):
    return open_split(
        *versions[codec], "train", ReadSettings(cache, window_mb=settings.pop("window_mb", WINDOW), **settings)
    )


def epoch_of(reader, epoch=0, ranks=1, first_step=0, batch=BATCH):
    """[step][rank] -> Batch, of copies: what the reader gives must not change afterwards."""
    return list(zip(*(list(reader.batches(epoch, batch, r, ranks, first_step)) for r in range(ranks)), strict=True))


def joined(parts, name):
    return np.concatenate([getattr(part, name) for part in parts])


NAMES = ("images", "labels", "weights", "rows", "partners", "partner_labels")
modes = pytest.mark.parametrize(("codec", "cache"), [(c, m) for c in ("raw", "png") for m in ("memory", "none")])


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
        count = sum(len(part.rows) for part in reader.batches(0, batch, 0, ranks))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == rows // ranks
    # The third window is the one that is read ahead while a batch lies in two; random pixels do not compress.
    assert peak < 3 * window * sample / ranks + 5 * batch * sample / ranks + 20 * sample + 2**17
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
    class Full:
        available = IMAGES.nbytes

    monkeypatch.setattr("convoy.dataset.read.psutil.virtual_memory", Full)
    with pytest.raises(DatasetError, match=r"training\.cache to none"):
        opened(versions, cache="memory")
    assert len(epoch_of(opened(versions))) == 6


def damaged(folder, how):
    """Damage the second file: in the middle of its pages, or at its end."""
    path = folder / "train" / "part-00001.parquet"
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "lengths":  # of the values in the first page of the image column: they have no checksum
        at = content.index(b"\x93NUMPY") - 4
        content[at : at + 4] = b"\xff\xff\xff\x7f"
    elif how == "pixels":
        content[content.index(b"IDAT") + 12] ^= 0xFF
    elif how == "exchanged":
        content = bytearray((folder / "train" / "part-00004.parquet").read_bytes())
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("cache", ["memory", "none"])
@pytest.mark.parametrize(
    ("codec", "how"), [("raw", "truncated"), ("raw", "lengths"), ("png", "pixels"), ("raw", "exchanged")]
)
def test_a_damaged_file_is_named(tmp_path, cache, codec, how):
    manifest = write_arrays(tmp_path, "train", IMAGES, LABELS, None, codec)
    path = damaged(tmp_path, how)
    with pytest.raises(DatasetError, match=f"^{path} .*ingest the dataset again") as caught:
        epoch_of(open_split(tmp_path, manifest, "train", ReadSettings(cache, window_mb=WINDOW)))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_damaged_while_training_is_named(tmp_path):
    manifest = write_arrays(tmp_path, "train", IMAGES, LABELS, None, "png")
    reader = open_split(tmp_path, manifest, "train", ReadSettings("none", window_mb=WINDOW))
    path = damaged(tmp_path, "pixels")
    with pytest.raises(DatasetError, match=str(path)):
        epoch_of(reader)
    with pytest.raises(DatasetError, match=f"^{path} .*ingest the dataset again$"), reading_errors():
        list(to_tf(lambda: reader.batches(0, BATCH, 0, 1), reader.first()))


def test_a_label_beyond_the_classes_is_refused(tmp_path):
    manifest = write_arrays(tmp_path, "train", IMAGES, LABELS)
    manifest.classes.remove("9")
    assert len(read_split(tmp_path, manifest, "train")) == ROWS
    del manifest.classes[4:]
    with pytest.raises(DatasetError, match="labels beyond the 4 classes"):
        read_split(tmp_path, manifest, "train")


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


@modes
@pytest.mark.parametrize("ranks", [1, 3])
def test_tensorflow_gets_the_same_batches_and_none_is_empty(versions, codec, cache, ranks):
    reader = opened(versions, codec, cache, partners=True)
    for rank in range(ranks):
        expected = list(reader.batches(0, 9, rank, ranks))  # the last batch has two samples: one rank has none
        dataset = to_tf(lambda rank=rank: reader.batches(0, 9, rank, ranks), reader.first(), 6)
        assert len(dataset) == 6
        assert all(spec.shape[0] is None for spec in dataset.element_spec.values())
        for _ in range(2):  # it can be iterated over again
            got = list(dataset.as_numpy_iterator())
            assert len(got) == len(expected) == 6
            for batch, part in zip(got, expected, strict=True):
                assert batch.keys() == set(NAMES)
                for name in NAMES if len(part.rows) else ():
                    np.testing.assert_array_equal(batch[name], getattr(part, name))
        if not len(expected[-1].rows):
            assert got[-1]["rows"].tolist() == [0]
            np.testing.assert_array_equal(got[-1]["images"], IMAGES[:1])
            np.testing.assert_array_equal(got[-1]["partners"], IMAGES[:1])
            np.testing.assert_array_equal(got[-1]["weights"], WEIGHTS[:1])


def test_large_samples_reach_tensorflow_too(tmp_path):
    images = noise(12, 90, 70, 3)
    manifest = write_arrays(tmp_path, "train", images, np.arange(12, dtype=np.int32) % 5)
    reader = open_split(tmp_path, manifest, "train", ReadSettings("memory"))
    for batch in to_tf(lambda: reader.batches(0, 5, 0, 1), reader.first()).as_numpy_iterator():
        np.testing.assert_array_equal(batch["images"], images[batch["rows"]])
        np.testing.assert_array_equal(batch["labels"], batch["rows"] % 5)


def test_giving_up_a_tensorflow_dataset_leaves_no_thread_of_the_reader(versions):
    reader = opened(versions)
    iterator = iter(to_tf(lambda: reader.batches(0, 2, 0, 1), reader.first(), prefetch=1))
    next(iterator)
    del iterator
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


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


@pytest.mark.parametrize("codec", ["raw", "png"])
def test_petastorm_reads_the_samples_of_its_shard(versions, codec):
    folder, manifest = versions[codec]
    pixels = {image.tobytes(): row for row, image in enumerate(IMAGES)}
    shards = []
    for rank in range(2):
        batches = petastorm_batches(folder, manifest, "train", BATCH, rank, 2, threads=1)
        seen = [next(batches) for _ in range(12)]
        batches.close()
        assert {part.images.shape for part in seen} == {(4, 6, 5, 3)}
        rows = [pixels[image.tobytes()] for image in joined(seen, "images")]
        np.testing.assert_array_equal(joined(seen, "labels"), LABELS[rows])
        np.testing.assert_array_equal(joined(seen, "weights"), WEIGHTS[rows])
        shards.append(set(rows))
    assert shards[0] | shards[1] == set(range(ROWS))
    assert not shards[0] & shards[1]


def test_petastorm_cannot_share_few_row_groups(versions):
    with pytest.raises(DatasetError, match="fewer row groups than the 11 ranks"):
        next(petastorm_batches(*versions["raw"], "train", 22, 10, 11))


def test_arrow_reads_no_more_than_a_row_group_at_a_time(tmp_path):
    rows, sample = 400, 64 * 64 * 3
    manifest = write_arrays(tmp_path, "train", noise(rows, 64, 64, 3), np.zeros(rows, np.int32), None, "raw", 20, 5)
    reader = open_split(tmp_path, manifest, "train", ReadSettings("none", window_mb=100 * sample / 2**20))
    held = [pa.total_allocated_bytes() for _ in reader.batches(0, 16, 0, 1)]
    assert max(held) < 3 * 20 * sample
