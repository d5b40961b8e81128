"""Where a sample belongs: by its content alone, in the shares asked for."""

import hashlib
import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.dataset.ingest.scan import hash_samples
from convoy.dataset.ingest.splits import SPLIT_ALIASES, SPLITS, assign_split, fractions_for, kept
from convoy.dataset.sources.folder import FolderSource

DIGESTS = [hashlib.blake2b(str(i).encode(), digest_size=16).hexdigest() for i in range(20_000)]
shares = st.floats(0, 0.5)


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.1), (0.2, 0.0), (0.0, 0.3), (0.25, 0.5), (0.001, 0.001)])
def test_shares_are_met(validation, test):
    placed = [assign_split(digest, validation, test) for digest in DIGESTS]
    for split, share in {"validation": validation, "test": test, "train": 1 - validation - test}.items():
        expected = share * len(DIGESTS)
        assert abs(placed.count(split) - expected) <= 4.5 * math.sqrt(expected * (1 - share))  # binomial


def test_a_sample_stays_where_it_is_in_every_version():
    splits = [assign_split(digest, 0.1, 0.1) for digest in DIGESTS[:100]]
    assert [i for i, split in enumerate(splits) if split == "test"] == [
        2,
        11,
        15,
        21,
        35,
        41,
        49,
        54,
        70,
        78,
        87,
        95,
    ]
    assert [i for i, split in enumerate(splits) if split == "validation"] == [
        13,
        23,
        24,
        26,
        28,
        32,
        38,
        53,
        66,
        69,
        71,
        84,
        89,
    ]


@given(st.sampled_from(DIGESTS), shares, shares, shares)
def test_a_larger_share_takes_more_samples_and_gives_none_back(digest, validation, test, more):
    if assign_split(digest, validation, test) == "test":
        assert assign_split(digest, validation, min(1.0, test + more)) == "test"
    if assign_split(digest, validation, test) == "validation":
        assert assign_split(digest, validation + more, test) == "validation"


@pytest.mark.parametrize("share", [0.01, 0.3, 0.999, 1.0])
def test_a_share_of_a_class_is_kept(share):
    count = sum(kept(digest, share) for digest in DIGESTS)
    assert abs(count - share * len(DIGESTS)) <= 4.5 * math.sqrt(share * (1 - share) * len(DIGESTS))


@given(st.sampled_from(DIGESTS), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_larger_share_of_a_class_keeps_what_a_smaller_one_does(digest, one, other):
    assert kept(digest, max(one, other)) or not kept(digest, min(one, other))


def test_what_is_kept_does_not_depend_on_the_split_that_would_be_carved():
    training = [digest for digest in DIGESTS if assign_split(digest, 0.3, 0.3) == "train"]
    count = sum(kept(digest, 0.2) for digest in training)
    assert abs(count - 0.2 * len(training)) <= 4.5 * math.sqrt(0.2 * 0.8 * len(training))


def test_copies_of_an_image_are_on_one_side(tmp_path):
    rows = []
    for i in range(60):
        for copy in ("a", "b", "other name"):
            path = tmp_path / f"{copy}-{i}"
            path.write_bytes(b"image %d" % i)
            rows.append({"path": str(path), "name": path.name, "class_name": "x", "split": None})
    batch = pa.RecordBatch.from_pylist(rows, pa.schema([(name, pa.string()) for name in rows[0]]))
    (result,) = hash_samples(iter([batch]), FolderSource(str(tmp_path)), (0.3, 0.3))
    splits = [row["split"] for row in result.to_pylist()]
    assert splits[0::3] == splits[1::3] == splits[2::3]
    assert set(splits) == set(SPLITS)


@pytest.mark.parametrize(
    ("given_splits", "expected"),
    [
        (set(), (0.1, 0.2)),
        ({"train"}, (0.1, 0.0)),
        ({"train", "test"}, (0.1, 0.0)),
        ({"train", "validation"}, (0.0, 0.0)),
        ({"train", "validation", "test"}, (0.0, 0.0)),
    ],
)
def test_only_what_the_source_lacks_is_carved_out(given_splits, expected):
    assert fractions_for(given_splits, 0.1, 0.2) == expected


def test_aliases_name_splits():
    assert set(SPLIT_ALIASES.values()) == set(SPLITS)
    assert all(alias == alias.lower() for alias in SPLIT_ALIASES)
