"""``convoy.read_samples`` and ``convoy.show_report``: what notebooks look at."""

import numpy as np
import pytest

import convoy
from convoy.errors import ConfigError, DatasetError
from tests.dataset.versions import CLASSES, SHAPE, write_version


@pytest.fixture
def config(tmp_path):
    """A configuration whose dataset has seven training images."""
    rows = [(f"{number}.png", f"{number:032x}", "train", CLASSES[number % 2]) for number in range(7)]
    write_version(tmp_path, "abc", rows, name="animals", pixels=np.random.default_rng(0))
    return convoy.load(overrides={"dataset.root": str(tmp_path), "dataset.name": "animals"})


def test_samples_are_arrays_with_the_names_of_their_classes(config):
    found = convoy.read_samples(config)
    assert (found.images.shape, found.images.dtype) == ((7, *SHAPE), np.uint8)
    by_path = dict(zip(found.paths, found.labels, strict=True))
    assert [found.classes[by_path[f"{number}.png"]] for number in range(7)] == [CLASSES[n % 2] for n in range(7)]


def test_a_count_takes_the_first_ones_and_no_more_than_there_are(config):
    all_of_them = convoy.read_samples(config, "train", 100)
    few = convoy.read_samples(config, "train", 3)
    assert (len(all_of_them), len(few)) == (7, 3)
    assert np.array_equal(few.images, all_of_them.images[:3])


def test_a_missing_split_or_dataset_is_refused(config):
    with pytest.raises(DatasetError, match="test"):
        convoy.read_samples(config, "test")
    with pytest.raises(DatasetError, match="'animal'"):
        convoy.read_samples(convoy.load(config, {"dataset.name": "animal"}))


def test_a_report_needs_a_notebook():
    with pytest.raises(ConfigError, match="--run-id abc"):
        convoy.show_report("abc")
