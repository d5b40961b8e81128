"""More classes than a matrix of all their pairs has room for."""

import numpy as np

from convoy.evaluation.metrics import Outcomes


def outcomes(num_classes, rows, right=0.6, seed=0):
    """Random predictions, of which a share is right; the first three classes are never recognised."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, rows)
    labels[:30] = np.arange(30) % 3
    predictions = np.where(random.random(rows) < right, labels, random.integers(3, num_classes, rows))
    predictions[labels < 3] = 3
    ranks = np.where(labels == predictions, 0, random.integers(1, 100, rows))
    confidence = random.random(rows).astype(np.float32)
    return Outcomes(labels, predictions, ranks, np.where(ranks == 0, confidence, confidence / 2), confidence)


def arrays(folder, num_classes, per_class=10, side=8):
    """Write ``images.npz``: the class is written into the pixels, as bits."""
    labels = np.tile(np.arange(num_classes), per_class)
    bits = (labels[:, None] >> np.arange(side * side) % 16) & 1
    noise = np.random.default_rng(0).integers(0, 60, (len(labels), side, side, 1))
    images = (bits.reshape(-1, side, side, 1) * 180 + noise).astype(np.uint8)
    np.savez(folder / "images.npz", images=images, labels=labels)
    return str(folder / "images.npz")
