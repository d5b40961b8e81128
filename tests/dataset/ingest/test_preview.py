"""The sheet of samples shows every class, however rare."""

import numpy as np
import pytest

from convoy.dataset.ingest.preview import class_histogram, sample_sheet, size_scatter
from convoy.dataset.storage.manifest import Manifest
from tests.dataset.versions import samples, write_version


@pytest.fixture
def version(tmp_path):
    """40 cats in row groups of two, and only then three dogs."""
    cats = [(f"cat/{i}.png", f"{i:032d}", "train", "cat") for i in range(40)]
    dogs = [(f"dog/{i}.png", f"{i + 100:032d}", "train", "dog") for i in range(3)]
    return write_version(tmp_path, "aaa", [*cats, *dogs, *samples(5, "test")])


def rows_of(figure):
    """Class -> number of samples in its row of the sheet (they are 2x3 pixels, a white one between them)."""
    rows = {axes.get_title(loc="left"): axes.get_images()[0].get_array() for axes in figure.axes}
    return {name: int((np.asarray(row)[0, ::4] != 255).sum()) for name, row in rows.items()}


def test_every_class_is_shown_though_it_be_rare(version):
    assert rows_of(sample_sheet(version, Manifest.load(version))) == {"cat": 8, "dog": 3}


def test_the_rows_fill_the_sheet(version):
    figure = sample_sheet(version, Manifest.load(version))
    figure.draw_without_rendering()
    for axes in figure.axes:
        place = axes.get_position()
        assert 0.01 < place.x0 < place.x1 < 0.99
        assert place.width > 0.94


def test_only_so_many_row_groups_are_searched(version, monkeypatch):
    monkeypatch.setattr("convoy.dataset.ingest.preview._LABEL_GROUPS", 15)
    assert rows_of(sample_sheet(version, Manifest.load(version))) == {"cat": 8, "dog": 0}
    monkeypatch.setattr("convoy.dataset.ingest.preview._IMAGE_GROUPS", 3)
    assert rows_of(sample_sheet(version, Manifest.load(version))) == {"cat": 6, "dog": 0}


def test_the_histogram_stacks_the_splits(version):
    [axes] = class_histogram(Manifest.load(version)).axes
    assert [bar.get_height() for bar in axes.patches] == [40, 3, 3, 2]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train (43)", "test (5)"]


def test_every_size_is_a_point(version):
    manifest = Manifest.load(version)
    [axes] = size_scatter(manifest.sizes, manifest.image).axes
    assert axes.collections[0].get_offsets().tolist() == [[3.0, 2.0]]
