"""Conversion of the reader's batches to ``tf.data``."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from convoy.dataset.reading.buffers import Buffers
from convoy.dataset.reading.split_reader import Batch
from convoy.errors import DatasetError

if TYPE_CHECKING:
    import tensorflow as tf

_CHUNK = 1 << 20  # bytes that cross from Python to TensorFlow at once
_LARGE = 1 << 14  # bytes of samples from which on a batch is passed to TensorFlow by itself


def to_tf(
    batches: Callable[[], Iterator[Batch]], first: Batch, steps: int | None = None, prefetch: int = 4
) -> "tf.data.Dataset":
    """Return a ``tf.data.Dataset`` of batches.

    A call from TensorFlow to Python takes 100 to 200 microseconds, as long as LeNet-5 takes for several images. So
    batches of small samples are passed in groups, and TensorFlow separates them.

    Args:
        batches: Returns an iterator; called whenever the dataset is iterated over.
        first: The reader's ``first()``, which replaces an empty batch, since TensorFlow's convolutions do not accept
            empty ones. Its weight is 0 (see ``convoy.training.callbacks.global_metrics.GlobalMetrics``).
        steps: Total number of batches, which becomes the length of the dataset.
        prefetch: Batches to prepare ahead of their use.

    Returns:
        A dataset of dicts with ``images`` (n, *shape) of their own dtype, ``labels`` int32 (n,), ``rows`` int64
        (n,); where the dataset has them ``weights`` float32 (n,); where ``first`` has them ``partners`` (n, *shape) and
        ``partner_labels`` int32 (n,). n is at least 1.
    """
    import tensorflow as tf

    parts = {field.name: getattr(first, field.name) for field in fields(first)}
    sample = {name: array[0] for name, array in parts.items() if array is not None}
    chunked = sample["images"].nbytes < _LARGE
    lead = (None, None) if chunked else (None,)
    signature = {name: tf.TensorSpec((*lead, *one.shape), tf.as_dtype(one.dtype)) for name, one in sample.items()}

    def elements() -> Iterator[dict[str, np.ndarray]]:
        filled = (batch if len(batch.rows) else first for batch in batches())
        if not chunked:
            yield from ({name: getattr(batch, name) for name in sample} for batch in filled)
            return
        buffers = Buffers()
        for group in _chunks(filled):
            yield {name: _stacked([getattr(batch, name) for batch in group], buffers) for name in sample}

    dataset = tf.data.Dataset.from_generator(elements, output_signature=signature)
    dataset = dataset.unbatch() if chunked else dataset
    if steps is not None:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    options = tf.data.Options()
    options.deterministic = True
    return dataset.prefetch(prefetch).with_options(options)


@contextmanager
def reading_errors() -> Iterator[None]:
    """Turn a TensorFlow error that wraps the reader's ``DatasetError`` back into it; use it around the iteration."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        if reason := re.search(r"\bDatasetError: (.+)", error.message):
            raise DatasetError(reason[1]) from None
        raise


def _stacked(parts: list[np.ndarray], buffers: Buffers) -> np.ndarray:
    return np.stack(parts, out=buffers.empty((len(parts), *parts[0].shape), parts[0].dtype.name))


def _chunks(batches: Iterator[Batch]) -> Iterator[list[Batch]]:
    """Group successive batches of equal size, up to about a MiB of images."""
    group: list[Batch] = []
    for batch in batches:
        if group and len(batch.rows) != len(group[0].rows):
            yield group
            group = []
        group.append(batch)
        if len(group) * batch.images.nbytes >= _CHUNK:
            yield group
            group = []
    if group:
        yield group
