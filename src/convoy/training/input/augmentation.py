"""Augmentation of training images that does not depend on a sample's batch, position or rank."""

from collections.abc import Sequence
from enum import IntEnum, auto

import keras
import numpy as np
import tensorflow as tf
from scipy.special import betaincinv

from convoy.config import AugmentationConfig
from convoy.training.input.stateless_random import Tensor, below, coin, sample_bits, table_index, table_quantiles, unit


class _Draw(IntEnum):
    """Index of each random number of a sample. The order decides the result of a seed: never reorder.

    Those of mixup's partner follow, so a number that is added here must be drawn after both.
    """

    FLIP_HORIZONTAL = 0
    FLIP_VERTICAL = auto()
    CROP_ROW = auto()
    CROP_COLUMN = auto()
    ROTATION = auto()
    BRIGHTNESS = auto()
    CUTOUT_ROW = auto()
    CUTOUT_COLUMN = auto()
    MIXUP = auto()


class Augmenter:
    """Random changes of images, as configured in ``training.augmentation``; for ``tf.data.Dataset.map`` or eager use.

    The random numbers of a sample are a function of (seed, epoch, row) only, and every operation yields the same bits
    for an image at any position in a batch. The order is flip, crop, rotation, brightness, cutout, mixup. Flips and
    crops move whole pixels and are exact; the other operations are computed in float32 and rounded once.

    Args:
        config: Section ``training.augmentation``; call its ``check_fits`` with the images' shape first.
        seed: ``training.seed``.
        pixel_mean: Mean of each channel over the training split, 0 to 255, with which cutout fills its square.
    """

    def __init__(self, config: AugmentationConfig, seed: int, pixel_mean: Sequence[float]) -> None:
        self._config = config
        self._seed = seed
        self._fill = np.rint(pixel_mean).astype(np.uint8)
        probability = table_quantiles()
        angles = np.deg2rad(config.rotation) * (2 * probability - 1)
        with tf.device("CPU"):
            self._cos_sin = tf.constant(np.stack([np.cos(angles), np.sin(angles)], axis=1), tf.float32)
            if config.mixup:
                self._weights = tf.constant(betaincinv(config.mixup, config.mixup, probability), tf.float32)

    def __call__(
        self, epoch: Tensor, rows: Tensor, images: Tensor, partners: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            epoch: int64 scalar.
            rows: int64 (n,), the samples' numbers in the split.
            images: uint8 (n, H, W, C) of less than 2**30 pixels; H, W and C are known when the graph is built.
            partners: uint8 (n, H, W, C), the image that each is mixed with; used if ``mixup`` is on. They are augmented
                too, with other random numbers.

        Returns:
            The images, uint8 (n, H, W, C), and the share of each one's own image and label, float32 (n,), 0 to 1; the
            rest is the partner's. The shares are 1 without mixup.
        """
        bits = sample_bits(self._seed, epoch, rows, 2 * len(_Draw))
        images = self._augment(images, bits[:, : len(_Draw)])
        if not self._config.mixup:
            return _to_uint8(images), tf.ones(tf.shape(rows), tf.float32)
        partners = self._augment(partners, bits[:, len(_Draw) :])
        share = tf.gather(self._weights, table_index(bits[:, _Draw.MIXUP]))
        weight = share[:, None, None, None]
        mixed = weight * tf.cast(images, tf.float32) + (1 - weight) * tf.cast(partners, tf.float32)
        return _to_uint8(mixed), share

    def _augment(self, images: Tensor, bits: Tensor) -> Tensor:
        """Return the images after all changes except mixup: uint8, or float32 after rotation or brightness."""
        config = self._config
        if config.flip != "none" or config.crop:
            images = self._flip_and_crop(images, bits)
        if config.rotation:
            matrix = self._rotation_matrix(images, bits)
            # In float32: for uint8 the operation would truncate interpolated values.
            images = keras.ops.image.affine_transform(
                tf.cast(images, tf.float32), matrix, fill_mode="constant", data_format="channels_last"
            )
        if config.brightness:
            delta = 255 * config.brightness * (2 * unit(bits[:, _Draw.BRIGHTNESS]) - 1)
            images = tf.clip_by_value(tf.cast(images, tf.float32) + delta[:, None, None, None], 0, 255)
        if config.cutout:
            images = self._cut_out(images, bits)
        return images

    def _flip_and_crop(self, images: Tensor, bits: Tensor) -> Tensor:
        """Move whole pixels, in one gather; faster than Keras' RandomFlip alone (its RandomCrop is one per batch)."""
        flip, crop = self._config.flip, self._config.crop
        (height, width, channels), n = images.shape[1:], tf.shape(images)[0]
        y, x = tf.range(height)[None], tf.range(width)[None]  # source coordinates of pixels: (n or 1, H or W)
        if flip in ("vertical", "both"):
            y = tf.where(coin(bits[:, _Draw.FLIP_VERTICAL, None]), height - 1 - y, y)
        if flip in ("horizontal", "both"):
            x = tf.where(coin(bits[:, _Draw.FLIP_HORIZONTAL, None]), width - 1 - x, x)
        if crop:
            y += below(bits[:, _Draw.CROP_ROW, None], 2 * crop + 1) - crop
            x += below(bits[:, _Draw.CROP_COLUMN, None], 2 * crop + 1) - crop
        # All pixels of the batch in one row, followed by a black one for coordinates outside an image.
        black = n * height * width
        first = (tf.range(n)[:, None] * height + y) * width
        first = tf.where((y >= 0) & (y < height), first, black)
        x = tf.where((x >= 0) & (x < width), x, black)
        pixels = tf.concat([tf.reshape(images, (-1, channels)), tf.zeros((1, channels), images.dtype)], axis=0)
        return tf.gather(pixels, tf.minimum(first[:, :, None] + x[:, None, :], black))

    def _rotation_matrix(self, images: Tensor, bits: Tensor) -> Tensor:
        """Return Keras' rotation matrices about the images' centres, float32 (n, 8), without ``cos``, ``sin``."""
        cos, sin = tf.unstack(tf.gather(self._cos_sin, table_index(bits[:, _Draw.ROTATION])), axis=1)
        y, x = (images.shape[1] - 1) / 2, (images.shape[2] - 1) / 2
        zero = tf.zeros_like(cos)
        return tf.stack([cos, -sin, x - x * cos + y * sin, sin, cos, y - x * sin - y * cos, zero, zero], axis=1)

    def _cut_out(self, images: Tensor, bits: Tensor) -> Tensor:
        """Fill a square; faster than Keras' RandomErasing, whose mask is broadcast over the channels."""
        height, width, channels = images.shape[1:]
        side = self._config.cutout
        top = below(bits[:, _Draw.CUTOUT_ROW, None], height) - side // 2
        left = below(bits[:, _Draw.CUTOUT_COLUMN, None], width) - side // 2
        y, x = tf.range(height)[None], tf.repeat(tf.range(width), channels)[None]  # a line of an image: W * C values
        inside = ((y >= top) & (y < top + side))[:, :, None] & ((x >= left) & (x < left + side))[:, None, :]
        lines = tf.reshape(images, (-1, height, width * channels))
        fill = tf.broadcast_to(tf.cast(np.tile(self._fill, width), images.dtype), tf.shape(lines))
        return tf.reshape(tf.where(inside, fill, lines), tf.shape(images))


def _to_uint8(images: Tensor) -> Tensor:
    """Round float32 pixels within [0, 255] to uint8; uint8 pixels are returned unchanged."""
    return images if images.dtype == tf.uint8 else tf.cast(tf.round(images), tf.uint8)
