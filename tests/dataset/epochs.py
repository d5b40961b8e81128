"""Epochs of a small split, read in every way: what the tests of the reader share."""

import numpy as np
import pytest

from convoy.dataset.reading.split_reader import ReadSettings, open_split
from tests.conftest import noise

ROWS, BATCH = 47, 8  # the last batch has 7; row groups have 5, the last one 2
IMAGES = noise(ROWS, 6, 5, 3)
LABELS = np.random.default_rng(1).choice([0, 1, 4], ROWS, p=[0.6, 0.3, 0.1]).astype(np.int32)
WEIGHTS = np.random.default_rng(2).uniform(0.5, 2, ROWS).astype(np.float32)
WINDOW = 12 * 90 / 2**20  # MiB of 12 samples: three row groups
NAMES = ("images", "labels", "weights", "rows", "partners", "partner_labels")
modes = pytest.mark.parametrize(("codec", "cache"), [(c, m) for c in ("raw", "png") for m in ("memory", "none")])


def opened(versions, codec="raw", cache="none", **settings):
    return open_split(
        *versions[codec], "train", ReadSettings(cache, window_mb=settings.pop("window_mb", WINDOW), **settings)
    )


def epoch_of(reader, epoch=0, ranks=1, first_step=0, batch=BATCH):
    """[step][rank] -> Batch, of copies: what the reader gives must not change afterwards."""
    return list(zip(*(list(reader.batches(epoch, batch, r, ranks, first_step)) for r in range(ranks)), strict=True))


def joined(parts, name):
    return np.concatenate([getattr(part, name) for part in parts])
