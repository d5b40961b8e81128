"""What the workers report, added up."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.utils.class_weight import compute_class_weight

from convoy.dataset.ingest.moments import moments_of
from convoy.dataset.ingest.statistics import class_weights, image_profile, pixel_statistics, reasons, size_statistics
from convoy.dataset.ingest.write import FileReport
from convoy.images import ArraySpec, quantile_bins


def report_of(images: np.ndarray, split: str = "train", sizes: list[list[int]] | None = None) -> FileReport:
    flat = images.reshape(-1, images.shape[-1]).astype(np.int64)
    return FileReport(
        split, "part", pixel_sum=flat.sum(0).tolist(), pixel_squares=(flat**2).sum(0).tolist(), sizes=sizes or []
    )


@given(st.lists(arrays(np.uint8, (3, 4, 5, 3)), min_size=1, max_size=4))
def test_pixel_statistics_are_numpys_however_the_rows_are_spread_over_files(parts):
    elsewhere = report_of(np.full((2, 4, 5, 3), 255, np.uint8), "test")
    mean, std = pixel_statistics([elsewhere, *map(report_of, parts)], ArraySpec((4, 5, 3), "uint8"), 3 * len(parts))
    everything = np.concatenate(parts).reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(mean, everything.mean(0), rtol=1e-12)
    np.testing.assert_allclose(std, everything.std(0), rtol=1e-9, atol=1e-6)


@given(st.lists(arrays(np.int16, (3, 6, 2)), min_size=1, max_size=4))
def test_statistics_of_arrays_are_numpys_and_empty_files_have_none(parts):
    reports = [FileReport("train", f"part{i}", moments=asdict(moments_of(part))) for i, part in enumerate(parts)]
    elsewhere = FileReport("test", "part", moments=asdict(moments_of(np.full((3, 6, 2), 999))))
    spec = ArraySpec((6, 2), "int16")
    mean, std = pixel_statistics([elsewhere, FileReport("train", "empty"), *reports], spec, 3 * len(parts))
    everything = np.concatenate(parts).reshape(-1, 2).astype(np.float64)
    np.testing.assert_allclose(mean, everything.mean(0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(std, everything.std(0), rtol=1e-9, atol=1e-9)


def test_arrays_have_no_sizes():
    assert size_statistics([FileReport("train", "part")]) is None


@given(st.lists(st.integers(1, 500), min_size=1, max_size=8))
def test_class_weights_are_scikit_learns(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    expected = compute_class_weight("balanced", classes=np.arange(len(counts)), y=labels)
    given_weights = class_weights({str(i): count for i, count in enumerate(counts)})
    np.testing.assert_allclose(list(given_weights.values()), expected)


def test_an_empty_class_has_no_weight_and_harms_no_other():
    assert class_weights({"a": 10, "b": 0, "c": 30}) == {"a": 2.0, "b": 0.0, "c": pytest.approx(2 / 3)}


def test_sizes_are_counted_over_all_files():
    images = np.zeros((1, 1, 1, 1), np.uint8)
    reports = [report_of(images, sizes=[[10, 20, 3], [40, 30, 1]]), report_of(images, sizes=[[10, 20, 2]])]
    sizes = size_statistics(reports)
    assert sizes is not None
    assert sizes.frequent == [[10, 20, 5], [40, 30, 1]]
    assert (sizes.smallest, sizes.largest) == ([10, 20], [40, 30])
    assert sizes.mean == [pytest.approx(15.0), pytest.approx(130 / 6)]


def test_the_profile_is_of_the_training_images_of_all_files():
    train = [
        FileReport("train", "a", brightness=[[3, 2], [9, 1]], heights=[[28, 3]], widths=[[28, 2], [30, 1]]),
        FileReport("train", "b", brightness=[[3, 1]], heights=[[28, 1]], widths=[[30, 1]]),
    ]
    elsewhere = FileReport("test", "c", brightness=[[200, 9]], heights=[[7, 9]], widths=[[7, 9]])
    profile = image_profile([*train, elsewhere])
    assert profile is not None
    assert profile.brightness == quantile_bins({3: 3, 9: 1})
    assert profile.height == quantile_bins({28: 4})
    assert profile.width == quantile_bins({28: 2, 30: 2})
    assert image_profile([elsewhere, FileReport("train", "empty")]) is None


def test_the_ten_most_frequent_reasons_are_told():
    bad = [{"reason": f"r{i}"} for i in range(12) for _ in range(i + 1)]
    assert reasons(bad).startswith("r11: 12, r10: 11")
    assert len(reasons(bad).split(", ")) == 10
