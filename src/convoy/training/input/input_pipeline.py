"""Conversion of the reader's batches to the input of ``fit``: augmented, mixed and weighted."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from convoy.config import TrainingConfig
from convoy.dataset.petastorm.reader import petastorm_batches
from convoy.dataset.reading.epoch_plan import steps_per_epoch
from convoy.dataset.reading.split_reader import Batch, ReadSettings, open_split
from convoy.dataset.reading.tf_data import to_tf
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest
from convoy.training.distributed.collective import Collective
from convoy.training.input.augmentation import Augmenter


class Pipeline:
    """A rank's training and validation data.

    Args:
        path: Folder of the dataset version.
        manifest: Its manifest.
        config: Section ``training``.
        collective: The ranks.
        threads: Number of threads for decoding and augmentation.

    Attributes:
        rows: Training samples of an epoch, including repetitions.
        validation_rows: Validation samples.
        steps: Steps in an epoch.

    Raises:
        DatasetError: A split is missing, damaged, or does not fit into memory.
    """

    def __init__(
        self, path: Location, manifest: Manifest, config: TrainingConfig, collective: Collective, threads: int
    ) -> None:
        self._path, self._manifest, self._config, self._collective = path, manifest, config, collective
        self._threads = max(1, threads)
        mixing = config.augmentation.mixup > 0
        settings = ReadSettings(
            config.cache, config.shuffle_window_mb, config.seed, config.class_balance, mixing, self._threads
        )
        self._train = open_split(path, manifest, "train", settings)
        self._validation = open_split(
            path, manifest, "validation", replace(settings, class_balance="none", partners=False)
        )
        self.rows, self.validation_rows = self._train.samples, self._validation.samples
        self.steps = steps_per_epoch(self.rows, config.global_batch_size)

    def training(self, epoch: int, step: int) -> tf.data.Dataset:
        """Return all batches from the given epoch and step to the end of training, in the plan's order.

        Returns:
            A dataset of (samples (n, *shape), labels), or (samples, labels, weights float32 (n,)) if samples have
            different weights; labels are int32 (n,), or with mixup float32 (n, K).
        """
        config, manifest = self._config, self._manifest
        augmenter = None
        if config.augmentation.enabled:
            augmenter = Augmenter(config.augmentation, config.seed, manifest.pixel_mean)
        class_weights = None
        if config.class_balance == "weights":
            class_weights = tf.constant([manifest.class_weights[name] for name in manifest.classes], tf.float32)
        start, steps, classes = epoch * self.steps + step, self.steps, len(manifest.classes)

        def finish(number: tf.Tensor, part: dict[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
            samples, labels, weights = part["images"], part["labels"], part.get("weights")
            share: Any = None
            if augmenter is not None:
                samples, share = augmenter((start + number) // steps, part["rows"], samples, part.get("partners"))
            if class_weights is not None:
                balance = tf.gather(class_weights, labels)
                if "partners" in part:
                    balance = share * balance + (1 - share) * tf.gather(class_weights, part["partner_labels"])
                weights = balance if weights is None else weights * balance
            if "partners" in part:
                own, other = tf.one_hot(labels, classes), tf.one_hot(part["partner_labels"], classes)
                labels = share[:, None] * own + (1 - share[:, None]) * other
            return (samples, labels) if weights is None else (samples, labels, weights)

        batches = to_tf(lambda: self._training_batches(epoch, step), self._train.first(), config.epochs * steps - start)
        return batches.enumerate().map(finish, num_parallel_calls=self._threads, deterministic=True).prefetch(2)

    def validation(self) -> tf.data.Dataset:
        """Return the validation split once, in stored order; elements as in ``training`` without mixup."""
        collective, batch = self._collective, self._config.global_batch_size

        def batches() -> Iterator[Batch]:
            return self._validation.in_order(batch, collective.rank, collective.size)

        def pair(part: dict[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
            columns = ("images", "labels", "weights") if "weights" in part else ("images", "labels")
            return tuple(part[name] for name in columns)

        return to_tf(batches, self._validation.first(), steps_per_epoch(self.validation_rows, batch)).map(pair)

    def _training_batches(self, epoch: int, step: int) -> Iterator[Batch]:
        config, collective = self._config, self._collective
        batch, rank, size = config.global_batch_size, collective.rank, collective.size
        if config.reader == "petastorm":
            assert isinstance(self._path, Path)  # see ``preparation``
            yield from petastorm_batches(self._path, self._manifest, "train", batch, rank, size, config.seed)
            return
        for number in range(epoch, config.epochs):
            yield from self._train.batches(number, batch, rank, size, step if number == epoch else 0)

    def close(self) -> None:
        """Stop the readers' threads and release the memory."""
        self._train.close()
        self._validation.close()

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
