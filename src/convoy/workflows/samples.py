"""Read samples of a dataset as arrays."""

import numpy as np

from convoy.config import Config
from convoy.dataset.reading import examples
from convoy.dataset.storage import catalog
from convoy.dataset.storage.manifest import Manifest


def read_samples(config: Config, split: str = "train", count: int | None = None) -> examples.Samples:
    """Read samples of the configured dataset version into memory, for Keras, NumPy or a picture.

    Args:
        config: Section ``dataset``.
        split: ``train``, ``validation`` or ``test``.
        count: Number of samples from the start of the split, which is in random order; None reads all of them.

    Returns:
        ``images``, uint8 (n, H, W, C) or arrays of the dataset's type; ``labels``, int32 (n,), indices into
        ``classes``; ``paths`` in the source.

    Raises:
        DatasetError: There is no such dataset or split, or its files cannot be read.
    """
    path = catalog.find(config.dataset.root, config.dataset.name, config.dataset.version)
    manifest = Manifest.load(path)
    rows = manifest.split(split).rows
    return examples.read_samples(path, manifest, split, np.arange(rows if count is None else min(count, rows)))
