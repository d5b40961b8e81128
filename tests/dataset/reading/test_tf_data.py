"""TensorFlow gets the very batches that the reader gives."""

import threading

import numpy as np
import pytest

from convoy.dataset.reading.split_reader import ReadSettings, open_split
from convoy.dataset.reading.tf_data import to_tf
from tests.conftest import noise
from tests.dataset.epochs import IMAGES, NAMES, WEIGHTS, modes, opened
from tests.dataset.versions import write_arrays


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
