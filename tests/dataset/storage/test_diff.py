"""What changed between two versions: every sample is counted where it belongs."""

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from convoy.dataset.storage.diff import diff
from convoy.images import Geometry
from tests.dataset.versions import SHAPE, samples, write_version

NOTHING = {
    "unchanged": 0,
    "added": 0,
    "removed": 0,
    "renamed": 0,
    "changed_content": 0,
    "changed_split": 0,
    "changed_label": 0,
    "changed_weight": 0,
}


def counts(first, second):
    values = dataclasses.asdict(diff(first, second))
    return {name: values[name] for name in NOTHING}


def test_each_kind_of_change_is_counted(tmp_path):
    before = [*samples(8), *samples(4, "test")]
    after = list(before)
    path, digest, split, label = after.pop(0)  # removed
    path, digest, split, label = after[0]
    after[0] = (path, "other bytes", split, label)
    path, digest, split, label = after[1]
    after[1] = (path, digest, "test", label)
    path, digest, split, label = after[2]
    after[2] = (path, digest, split, "cat" if label == "dog" else "dog")
    path, digest, split, label = after[3]
    after[3] = ("cat/renamed.png", digest, split, label)
    after += [("cat/new1.png", "new1", "train", "cat"), ("cat/new2.png", "new2", "train", "cat")]
    first, second = write_version(tmp_path, "aaa", before), write_version(tmp_path, "bbb", after)
    assert counts(first, second) == {
        "unchanged": 7,
        "added": 2,
        "removed": 1,
        "renamed": 1,
        "changed_content": 1,
        "changed_split": 1,
        "changed_label": 1,
        "changed_weight": 0,
    }
    assert diff(first, second).settings == {}


def test_version_does_not_differ_from_itself(tmp_path):
    version = write_version(tmp_path, "aaa", samples(8))
    assert counts(version, version) == {**NOTHING, "unchanged": 8}


def test_classes_are_compared_by_name_not_by_index(tmp_path):
    first = write_version(tmp_path, "aaa", samples(6))
    second = write_version(tmp_path, "bbb", samples(6), classes=("bird", "cat", "dog"))
    difference = diff(first, second)
    assert (difference.unchanged, difference.changed_label) == (6, 0)
    assert difference.settings == {"classes": (["cat", "dog"], ["bird", "cat", "dog"])}


def test_samples_without_weights_weigh_one_and_changed_weights_are_counted(tmp_path):
    first = write_version(tmp_path, "aaa", samples(6))
    second = write_version(tmp_path, "bbb", samples(6), weights={})
    third = write_version(tmp_path, "ccc", samples(6), weights={samples(6)[1][0]: 0.5, samples(6)[4][0]: 2.0})
    assert counts(first, second) == {**NOTHING, "unchanged": 6}
    assert counts(second, third) == counts(first, third) == {**NOTHING, "unchanged": 4, "changed_weight": 2}
    assert diff(first, second).settings == {"weighted": (False, True)}


def test_settings_that_differ_are_named(tmp_path):
    first = write_version(tmp_path, "aaa", samples(4))
    second = write_version(
        tmp_path,
        "bbb",
        samples(4),
        image=Geometry(*SHAPE, "letterbox"),
        source={"kind": "folder", "path": "/other"},
        settings={"validation_fraction": 0.2},
        created="2027-01-01T00:00:00+00:00",
    )
    assert diff(first, second).settings == {
        "image.resize": ("stretch", "letterbox"),
        "source.path": ("/images", "/other"),
        "settings.validation_fraction": (0.1, 0.2),
    }


def test_path_that_occurs_more_than_once_is_matched_copy_by_copy(tmp_path):
    twice = ("cat/a.png", "digest", "train", "cat")
    first = write_version(tmp_path, "aaa", [*samples(2), twice, twice])
    second = write_version(tmp_path, "bbb", [*samples(2), twice, twice, twice])
    assert counts(first, second) == {**NOTHING, "unchanged": 4, "added": 1}
    assert counts(second, first) == {**NOTHING, "unchanged": 4, "removed": 1}


SAMPLES = st.lists(
    st.tuples(
        st.sampled_from("abcde"), st.sampled_from("0123"), st.sampled_from(["train", "test"]), st.sampled_from(["cat"])
    ),
    min_size=1,
    max_size=10,
)


@settings(max_examples=20)  # each writes two datasets
@given(before=SAMPLES, after=SAMPLES)
def test_counts_add_up_and_mirror(tmp_path_factory, before, after):
    root = tmp_path_factory.mktemp("datasets")
    there = diff(write_version(root, "aaa", before), write_version(root, "bbb", after))
    back = diff(root / "animals" / "bbb", root / "animals" / "aaa")
    assert dataclasses.replace(there, added=there.removed, removed=there.added) == back
    assert len(after) - len(before) == there.added - there.removed
    paths = [sorted(sample[0] for sample in version) for version in (before, after)]
    if paths[0] == paths[1]:
        assert there.added == there.removed == there.renamed == 0
