"""Predictions for the validation split, and the selection of samples worth inspecting."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from convoy.dataset.reading.examples import read_samples
from convoy.dataset.reading.split_files import SplitFiles
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest
from convoy.evaluation.metrics import Evaluation, Outcomes, evaluate

SPLIT = "validation"
"""The split that a report explains."""
MOST_ROWS = 10_000
MOST_SECONDS = 20.0
_BATCH = 256
_BATCH_BYTES = 64 << 20


@dataclass(frozen=True)
class Predictions:
    """What a network says about the first n samples of the split; its order is by hashes, so they are a random subset.

    Attributes:
        labels: int (n,) true classes.
        predicted: int (n,) most probable classes.
        confidence: float32 (n,) probability of the most probable class.
        of_true: float32 (n,) probability of the true class.
        margin: float32 (n,) difference between the two largest probabilities.
        rank_of_true: int (n,) number of classes that are more probable than the true one.
        num_classes: K.
        rows: Samples of the whole split.
    """

    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    of_true: np.ndarray
    margin: np.ndarray
    rank_of_true: np.ndarray
    num_classes: int
    rows: int

    @classmethod
    def of(cls, batches: Iterable[tuple[np.ndarray, np.ndarray]], num_classes: int, rows: int) -> "Predictions":
        """Reduce probabilities to what the report needs of them; those of one batch at a time are held in memory.

        Args:
            batches: (int (n,) true classes, float32 (n, K) probabilities) of each batch, at least one.
            num_classes: K.
            rows: Samples of the whole split.
        """
        columns = zip(*(_reduced(*batch) for batch in batches), strict=True)
        labels, predicted, confidence, of_true, margin, rank_of_true = map(np.concatenate, columns)
        return cls(labels, predicted, confidence, of_true, margin, rank_of_true, num_classes, rows)

    def __len__(self) -> int:
        return len(self.labels)

    def most_wrong(self, count: int) -> np.ndarray:
        """Return wrong predictions, the least probable true class first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        return wrong[np.argsort(self.of_true[wrong], kind="stable")[:count]]

    def least_certain(self, count: int) -> np.ndarray:
        """Return the samples with the smallest margins, right or wrong."""
        return np.argsort(self.margin, kind="stable")[:count]

    def rightly_known(self, count: int) -> np.ndarray:
        """Return right predictions, of different classes as far as possible."""
        right = np.flatnonzero(self.predicted == self.labels)
        _, first = np.unique(self.labels[right], return_index=True)
        rest = np.setdiff1d(np.arange(len(right)), first)
        return right[np.concatenate([first, rest])[:count]]

    def confused(self, count: int) -> list[tuple[int, int, int]]:
        """Return the most frequent confusions: (true class, predicted class, samples)."""
        pairs = np.stack([self.labels, self.predicted], axis=1)[self.predicted != self.labels]
        different, samples = np.unique(pairs, axis=0, return_counts=True)
        order = np.argsort(-samples, kind="stable")[:count]
        return [(int(true), int(other), int(samples[i])) for i in order for true, other in [different[i]]]

    def evaluate(self, top_k: int = 5) -> Evaluation:
        """Return the metrics over the samples."""
        outcomes = Outcomes(self.labels, self.predicted, self.rank_of_true, self.of_true, self.confidence)
        return evaluate(outcomes, self.num_classes, top_k)


def _reduced(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the first six attributes of ``Predictions``."""
    of_true = probabilities[np.arange(len(labels)), labels]
    top = np.partition(probabilities, -2, axis=1)[:, -2:]
    rank = (probabilities > of_true[:, None]).sum(axis=1)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    return labels, predicted, confidence, of_true, top[:, 1] - top[:, 0], rank


def predict(model: keras.Model, version_path: Location, manifest: Manifest, rows: int = MOST_ROWS) -> Predictions:
    """Predict the first samples of the validation split: the given number, or as many as are possible in 20 s.

    Args:
        model: Network from raw samples to probabilities.
        version_path: Folder of the dataset version.
        manifest: Its manifest.
        rows: Maximum number of samples.
    """
    files = SplitFiles(version_path, manifest, SPLIT)
    batches = _predicted(model, version_path, manifest, rows, files)
    return Predictions.of(batches, len(manifest.classes), files.rows)


def _predicted(
    model: keras.Model, version_path: Location, manifest: Manifest, rows: int, files: SplitFiles
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield labels and probabilities of a batch at a time."""
    batch = int(max(1, min(_BATCH, _BATCH_BYTES // manifest.spec.nbytes)))
    signature = [tf.TensorSpec((None, *manifest.shape), manifest.dtype)]
    # One trace serves all batches, on accelerators and CPUs alike.
    call = tf.function(lambda samples: model(samples, training=False), input_signature=signature, autograph=False)
    done, started = 0, time.monotonic()
    for group in files.groups:
        last = min(group.first + group.rows, rows)
        while done < last and (not done or time.monotonic() - started < MOST_SECONDS):
            # Several batches at a time: opening the file takes longer than computing small ones.
            count = min(last - done, max(batch, _BATCH_BYTES // manifest.spec.nbytes))
            samples = read_samples(version_path, manifest, SPLIT, np.arange(done, done + count))
            for start in range(0, count, batch):
                found = call(tf.constant(samples.images[start : start + batch]))
                yield samples.labels[start : start + batch], np.asarray(found, np.float32)
            done += count
