"""Petastorm's own reader, for comparison: each rank has a shard."""

import numpy as np
import pytest

from convoy.dataset.petastorm.reader import petastorm_batches
from convoy.errors import DatasetError
from tests.dataset.epochs import BATCH, IMAGES, LABELS, ROWS, WEIGHTS, joined


@pytest.mark.parametrize("codec", ["raw", "png"])
def test_petastorm_reads_the_samples_of_its_shard(versions, codec):
    folder, manifest = versions[codec]
    pixels = {image.tobytes(): row for row, image in enumerate(IMAGES)}
    shards = []
    for rank in range(2):
        batches = petastorm_batches(folder, manifest, "train", BATCH, rank, 2, threads=1)
        seen = [next(batches) for _ in range(12)]
        batches.close()
        assert {part.images.shape for part in seen} == {(4, 6, 5, 3)}
        rows = [pixels[image.tobytes()] for image in joined(seen, "images")]
        np.testing.assert_array_equal(joined(seen, "labels"), LABELS[rows])
        np.testing.assert_array_equal(joined(seen, "weights"), WEIGHTS[rows])
        shards.append(set(rows))
    assert shards[0] | shards[1] == set(range(ROWS))
    assert not shards[0] & shards[1]


def test_petastorm_cannot_share_few_row_groups(versions):
    with pytest.raises(DatasetError, match="fewer row groups than the 11 ranks"):
        next(petastorm_batches(*versions["raw"], "train", 22, 10, 11))
