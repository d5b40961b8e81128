"""What reaches ``fit``: every sample once, weighed, balanced and mixed as configured, the same over any ranks."""

from pathlib import Path

import numpy as np
import pytest

from convoy.config import AugmentationConfig, TrainingConfig
from convoy.dataset.storage.manifest import Manifest
from convoy.training.input.input_pipeline import Pipeline
from tests.dataset.versions import write_version

CLASSES = ("cat", "dog")


class Rank:
    def __init__(self, rank, size):
        self.rank, self.size, self.local_rank = rank, size, rank


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Nineteen cats and six dogs; every third sample weighs 2."""
    names = [CLASSES[0]] * 19 + [CLASSES[1]] * 6
    samples = [(f"{i}.png", f"{i:032d}", "train", name) for i, name in enumerate(names)]
    samples += [(f"v{i}.png", f"{i + 900:032d}", "validation", CLASSES[i % 2]) for i in range(5)]
    return write_version(
        tmp_path_factory.mktemp("data"),
        "aaa",
        samples,
        pixels=np.random.default_rng(0),
        class_weights={"cat": 25 / 38, "dog": 25 / 12},
    )


def batches(dataset, size=1, epoch=0, step=0, **settings):
    """The elements of all ranks, side by side."""
    config = TrainingConfig(num_workers=size, epochs=2, global_batch_size=8, **settings)
    per_rank = []
    for rank in range(size):
        with Pipeline(dataset, Manifest.load(dataset), config, Rank(rank, size), 1) as pipeline:
            per_rank.append([[part.numpy() for part in element] for element in pipeline.training(epoch, step)])
    return per_rank


def joined(per_rank):
    """One rank's view: the ranks' parts of each step put together (no part is empty in these tests)."""
    return [[np.concatenate(parts) for parts in zip(*step, strict=True)] for step in zip(*per_rank, strict=True)]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"augmentation": AugmentationConfig(flip="both", crop=1)},
        {"augmentation": AugmentationConfig(mixup=0.4, brightness=0.2), "class_balance": "weights"},
        {"cache": "none", "shuffle_window_mb": 1e-5},
        {"class_balance": "oversample"},
    ],
)
def test_ranks_together_see_what_one_sees(dataset, settings):
    if settings.get("class_balance") == "oversample":
        settings = {**settings}  # 38 samples: 8, 8, 8, 8, 6 are shared by two without remainder
    alone = batches(dataset, **settings)[0]
    whole = [step for step in range(len(alone)) if len(alone[step][0]) % 2 == 0]
    together = batches(dataset, 2, **settings)
    for step in whole:
        for ours, theirs in zip(joined([[rank[step]] for rank in together])[0], alone[step], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_resumed_epoch_goes_on_with_the_same_augmented_batches(dataset):
    settings = {"augmentation": AugmentationConfig(flip="both", mixup=1.0)}
    whole = batches(dataset, **settings)[0]
    rest = batches(dataset, epoch=1, step=2, **settings)[0]
    assert len(whole) == 8
    for ours, theirs in zip(rest, whole[6:], strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert np.array_equal(a, b)


def test_epochs_are_augmented_differently(dataset):
    settings = {"augmentation": AugmentationConfig(brightness=1.0)}
    whole = batches(dataset, **settings)[0]
    first = np.concatenate([step[0] for step in whole[:4]]).astype(int).sum(axis=(1, 2, 3))
    second = np.concatenate([step[0] for step in whole[4:]]).astype(int).sum(axis=(1, 2, 3))
    assert len(set(first) & set(second)) < 5


def test_class_weights_balance_the_loss(dataset):
    steps = batches(dataset, class_balance="weights")[0][:4]
    weights = {label: set() for label in (0, 1)}
    for _, labels, weight in steps:
        for label, value in zip(labels.tolist(), weight.tolist(), strict=True):
            weights[label].add(round(value, 4))
    assert weights == {0: {round(25 / 38, 4)}, 1: {round(25 / 12, 4)}}


def test_oversampling_gives_every_class_as_many(dataset):
    labels = np.concatenate([step[1] for step in batches(dataset, class_balance="oversample")[0][:5]])
    assert np.bincount(labels).tolist() == [19, 19]


def test_mixed_labels_are_shares_of_two_classes(dataset):
    for images, labels in batches(dataset, augmentation=AugmentationConfig(mixup=1.0))[0]:
        assert labels.shape == (len(images), 2)
        np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
        assert images.dtype == np.uint8
