"""``manifest.json``: whole or refused."""

import contextlib
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.dataset.storage.manifest import NAME, Duplicates, FileEntry, Manifest, SizeStatistics, SplitEntry
from convoy.errors import DatasetError
from convoy.images import ArraySpec, Bins, Geometry, ImageProfile

MANIFEST = Manifest(
    name="animals",
    version="0123456789ab",
    fingerprint="f" * 64,
    image=Geometry(28, 30, 3, "letterbox"),
    codec="raw",
    classes=["chat", "über", "犬"],
    pixel_mean=[0.1, 127.5, 1 / 3],
    pixel_std=[0.0, 1e-9, 73.25],
    splits={
        "train": SplitEntry(5, {"chat": 3, "über": 2, "犬": 0}, [FileEntry("part-00000.parquet", [3, 2], 99, "ab")]),
        "test": SplitEntry(1, {"chat": 0, "über": 0, "犬": 1}, [FileEntry("part-00000.parquet", [1], 9, "cd")]),
    },
    class_weights={"chat": 0.8333, "über": 1.25, "犬": 0.0},
    sizes=SizeStatistics([10, 12], [480, 640], [200.5, 300.25], [[480, 640, 5], [10, 12, 1]]),
    duplicates=Duplicates(copies=3, across_splits=1, across_classes=0),
    settings={"codec": ["raw"], "on_leakage": "report"},
    quarantined=2,
    source={"kind": "folder", "path": "/images"},
    created="2026-01-01T00:00:00+00:00",
    tools={"numpy": "1.26.4"},
    profile=ImageProfile(Bins([99], [3, 2]), Bins([27, 28], [0, 5, 0]), Bins([], [5])),
)


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    folder = tmp_path_factory.mktemp("version")

    def load(text):
        (folder / NAME).write_text(text)
        return Manifest.load(folder)

    return load


def paths(value, path=()):
    """Every place within JSON values."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from paths(part, (*path, key))


def test_what_was_written_is_read(load):
    assert load(MANIFEST.dumps()) == MANIFEST
    assert MANIFEST.rows() == {"train": 5, "test": 1}
    assert MANIFEST.split("train").files[0].rows == 5


@given(
    mean=st.lists(st.floats(0, 255), min_size=3, max_size=3),
    classes=st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True),
)
def test_numbers_and_names_survive_to_the_last_bit(load, mean, classes):
    manifest = dataclasses.replace(MANIFEST, pixel_mean=mean, classes=classes)
    assert load(manifest.dumps()) == manifest


SIGNALS = dataclasses.replace(MANIFEST, image=None, sizes=None, shape=(500, 2), dtype="float32")


def test_manifest_of_arrays_has_no_geometry_but_shape_and_type(load):
    manifest = load(SIGNALS.dumps())
    assert manifest == SIGNALS
    assert (manifest.image, manifest.sizes) == (None, None)
    assert manifest.spec == ArraySpec((500, 2), "float32")


def test_manifest_of_images_without_shape_and_type_has_those_of_its_geometry(load):
    values = json.loads(MANIFEST.dumps())
    assert (values.pop("shape"), values.pop("dtype"), values.pop("weighted")) == ([28, 30, 3], "uint8", False)
    assert load(json.dumps(values)) == MANIFEST
    assert load(json.dumps(values)).spec == ArraySpec((28, 30, 3), "uint8")


@pytest.mark.parametrize("change", [{"shape": []}, {"shape": ["a"]}, {"dtype": "float33"}])
def test_manifest_of_arrays_without_shape_or_of_an_unknown_type_is_refused(load, change):
    with pytest.raises(DatasetError, match=NAME):
        load(json.dumps({**json.loads(SIGNALS.dumps()), **change}))


def test_unknown_split_is_named_with_those_that_there_are():
    with pytest.raises(DatasetError, match=r"animals.* no split 'validation'; it has train, test"):
        MANIFEST.split("validation")


def test_missing_manifest_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=NAME):
        Manifest.load(tmp_path)


def test_other_format_is_refused_by_its_number(load):
    with pytest.raises(DatasetError, match=r"has format 999, but Convoy .* reads format 1; use "):
        load(dataclasses.replace(MANIFEST, format=999).dumps())


@given(st.integers(0, len(MANIFEST.dumps()) - 3))
def test_truncated_manifest_is_refused(load, length):
    with pytest.raises(DatasetError, match=NAME):
        load(MANIFEST.dumps()[:length])


@given(st.sampled_from(sorted(json.loads(MANIFEST.dumps()))))
def test_missing_field_is_refused(load, name):
    values = json.loads(MANIFEST.dumps())
    del values[name]
    if name == "tools":  # for information alone
        assert load(json.dumps(values)).tools == {}
    elif name == "profile":  # added later, and what it held is not known
        assert load(json.dumps(values)) == dataclasses.replace(MANIFEST, profile=None)
    elif name in ("shape", "dtype", "weighted"):  # added later
        assert load(json.dumps(values)) == MANIFEST
    else:
        with pytest.raises(DatasetError, match=NAME):
            load(json.dumps(values))


@given(
    st.sampled_from(list(paths(json.loads(MANIFEST.dumps())))),
    st.sampled_from([None, 7, "x", [], {}, [1], {"a": 1}]),
)
def test_damaged_manifest_raises_nothing_but_dataset_error(load, path, junk):
    values = json.loads(MANIFEST.dumps())
    if path:
        parent = values
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = junk
    else:
        values = junk
    with contextlib.suppress(DatasetError):
        load(json.dumps(values))
