"""Single samples are read by their numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.dataset.reading.examples import read_samples
from tests.conftest import noise
from tests.dataset.versions import write_arrays

IMAGES, LABELS = noise(23, 4, 3, 1), np.arange(23, dtype=np.int32) % 7


@pytest.fixture(scope="module", params=["raw", "png"])
def version(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return folder, write_arrays(folder, "validation", IMAGES, LABELS, codec=request.param)


@given(rows=st.lists(st.integers(0, 22), max_size=12))
def test_samples_come_in_the_order_of_the_numbers_with_labels_and_paths(version, rows):
    found = read_samples(*version, "validation", np.array(rows, np.int64))
    assert np.array_equal(found.images, IMAGES[rows])
    assert np.array_equal(found.labels, LABELS[rows])
    assert found.paths == [f"{row}.png" for row in rows]
    assert found.rows.tolist() == rows
