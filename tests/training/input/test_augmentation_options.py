"""Augmentation: each option does what it says, and what Keras does."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from convoy.config import AugmentationConfig
from tests.conftest import noise
from tests.training.augmented import MANY, SHAPE, augment, constant


def test_nothing_is_done_by_default():
    images = noise(5, *SHAPE)
    found, share = augment(AugmentationConfig(), tf.constant(images))
    assert np.array_equal(found, images)
    assert share.dtype == np.float32
    assert (share == 1).all()


@pytest.mark.parametrize(
    ("flip", "axes"), [("horizontal", [(), (2,)]), ("vertical", [(), (1,)]), ("both", [(), (1,), (2,), (1, 2)])]
)
def test_flips_mirror_equally_often(flip, axes):
    images = noise(MANY, 5, 4, 2)
    found, _ = augment(AugmentationConfig(flip=flip), images)
    cases = np.stack([(found == np.flip(images, axis)).all(axis=(1, 2, 3)) for axis in axes])
    assert (cases.sum(axis=0) == 1).all()  # each image is exactly one of them
    assert stats.chisquare(cases.sum(axis=1)).pvalue > 1e-5
    twice, _ = augment(AugmentationConfig(flip=flip), tf.constant(found))
    assert np.array_equal(twice, images)  # the same draw again undoes it


def test_crops_are_windows_of_the_padded_image_and_equally_likely():
    images, padding = noise(MANY, 6, 5, 3), 2
    found, _ = augment(AugmentationConfig(crop=padding), images)
    padded = np.pad(images, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    cases = np.stack(
        [
            (found == padded[:, top : top + 6, left : left + 5]).all(axis=(1, 2, 3))
            for top, left in itertools.product(range(5), repeat=2)
        ]
    )
    assert (cases.sum(axis=0) == 1).all()
    assert stats.chisquare(cases.sum(axis=1)).pvalue > 1e-5


def test_flips_and_crops_agree_with_keras():
    images = noise(64, 9, 8, 3)
    found, _ = augment(AugmentationConfig(flip="horizontal", crop=3), images)
    flipping = keras.layers.RandomFlip("horizontal", dtype="uint8")
    moving = keras.layers.RandomTranslation(0.5, 0.5, fill_mode="constant", interpolation="nearest", dtype="uint8")
    reached = np.zeros(64, bool)
    for flip, right, down in itertools.product([False, True], range(-3, 4), range(-3, 4)):
        flips = np.full((64, 1, 1, 1), flip)
        moves = np.tile(np.float32([[right, down]]), (64, 1))
        keras_images = moving.transform_images(
            flipping.transform_images(images, {"flips": flips}), {"translations": moves}
        )
        reached |= (keras_images.numpy() == found).all(axis=(1, 2, 3))
    assert reached.all()


def test_rotation_turns_about_the_centre_by_angles_within_the_range():
    size, radius = 41, 14
    y, x = np.mgrid[:size, :size] - 20.0
    dot = np.clip(255 * (2.5 - np.hypot(x - radius, y)), 0, 255).astype(np.uint8)[..., None]
    found, _ = augment(AugmentationConfig(rotation=40), tf.constant(np.repeat(dot[None], 1500, axis=0)))
    weight = found[..., 0] / found.sum(axis=(1, 2, 3), keepdims=True)[..., 0]
    across, down = (weight * x).sum(axis=(1, 2)), (weight * y).sum(axis=(1, 2))
    assert np.abs(np.hypot(across, down) - radius).max() < 0.1
    angle = np.degrees(np.arctan2(down, across))
    assert np.abs(angle).max() < 40.5
    assert stats.kstest(angle, stats.uniform(-40, 80).cdf).pvalue > 1e-5


def test_rotation_interpolates_leaves_black_corners_and_agrees_with_keras():
    images = noise(8, 12, 12, 3)
    found, _ = augment(AugmentationConfig(rotation=180), images)
    layer = keras.layers.RandomRotation(0.5, fill_mode="constant")
    nearest = np.full(8, np.inf)
    repeated = tf.constant(np.tile(images, (60, 1, 1, 1)), tf.float32)
    for angles in np.arange(-180, 180, 0.25, np.float32).reshape(-1, 60):
        zeros, ones = tf.zeros(60 * 8), tf.ones(60 * 8)
        turns = tf.constant(np.repeat(angles, 8))
        matrix = layer._compute_affine_matrix(0.5, 0.5, turns, zeros, zeros, ones, zeros, zeros, 12, 12)
        expected = layer.transform_images(repeated, {"rotation_matrix": matrix}).numpy().reshape(60, *found.shape)
        nearest = np.minimum(nearest, np.abs(expected - found).mean(axis=(2, 3, 4)).min(axis=0))
    assert nearest.max() < 2  # a quarter of a degree changes noise by that much; a wrong turn by some 80
    white, _ = augment(AugmentationConfig(rotation=180), constant(255, (32, 32, 1), 200))
    corner = white[:, 0, 0, 0]
    assert (white[:, 12:20, 12:20] == 255).all()
    assert (corner == 0).mean() > 0.5
    blank, _ = augment(AugmentationConfig(rotation=0.001), images)
    assert np.array_equal(blank, images)  # rounded, not truncated


def test_brightness_is_uniform_within_the_share():
    found, _ = augment(AugmentationConfig(brightness=0.2), constant(128))
    assert (found == found[:, :1, :1]).all()  # one shift per image
    shift = found[:, 0, 0, 0].astype(int) - 128
    assert np.abs(shift).max() <= 51
    assert stats.kstest(
        shift + np.random.default_rng(0).uniform(-0.5, 0.5, MANY), stats.uniform(-51, 102).cdf
    ).pvalue > (1e-5)


def test_brightness_clips():
    images = tf.constant(np.tile(np.uint8([0, 255]), (MANY, 4, 4, 1)))
    found = augment(AugmentationConfig(brightness=1.0), images)[0].astype(int)
    shift = found[..., 0] - (255 - found[..., 1])  # of the two, one is clipped
    assert ((found[..., 0] == 0) | (found[..., 1] == 255)).all()
    assert np.abs(shift).max() > 250


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 4.0])
def test_mixing_shares_follow_the_beta_distribution(alpha):
    _, share = augment(AugmentationConfig(mixup=alpha), constant(0, (1, 1, 1)), partners=constant(0, (1, 1, 1)))
    assert ((share >= 0) & (share <= 1)).all()
    beta = stats.beta(alpha, alpha)
    for point in (0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999):  # where float32 resolves it
        expected = beta.cdf(point)
        assert abs((share <= point).mean() - expected) < 5 * np.sqrt(expected * (1 - expected) / MANY) + 1e-4
    for power in (1, 2, 3):  # moments, within five standard errors
        error = np.sqrt((beta.moment(2 * power) - beta.moment(power) ** 2) / MANY)
        assert abs((share.astype(float) ** power).mean() - beta.moment(power)) < 5 * error


@pytest.mark.parametrize("values", [(0, 0), (255, 255), (0, 255), (255, 0), "noise"])
def test_mixup_is_the_average_that_the_share_says(values):
    own, partners = (
        (noise(500, 4, 4, 3), noise(500, 4, 4, 3, seed=1))
        if values == "noise"
        else (np.full((500, 4, 4, 3), value, np.uint8) for value in values)
    )
    found, share = augment(AugmentationConfig(mixup=1.0), own, partners=partners)
    weight = share.astype(float)[:, None, None, None]
    assert np.abs(found - (weight * own + (1 - weight) * partners)).max() < 0.5001


def test_mixup_agrees_with_keras():
    own, partners = noise(40, *SHAPE), noise(40, *SHAPE, seed=1)
    found, share = augment(AugmentationConfig(mixup=0.4), own, partners=partners)
    expected = keras.layers.MixUp().transform_images(
        np.concatenate([own, partners]),
        {"mix_weight": np.tile(share, 2), "permutation_order": np.roll(np.arange(80), 40)},
    )[:40]
    assert np.abs(found - np.asarray(expected)).max() < 0.5001


def test_partners_are_augmented_with_numbers_of_their_own():
    config = AugmentationConfig(flip="horizontal", mixup=1.0)
    left, none = np.zeros((MANY, 2, 2, 1), np.uint8), np.zeros((MANY, 2, 2, 1), np.uint8)
    left[:, :, 0] = 255
    own_flipped = augment(config, left, partners=none)[0][:, 0, 1, 0] > 0
    partner_flipped = augment(config, none, partners=left)[0][:, 0, 1, 0] > 0
    assert 0.2 < np.mean(own_flipped & partner_flipped) < 0.3
    assert 0.2 < np.mean(own_flipped & ~partner_flipped) < 0.3


@pytest.mark.parametrize("side", [1, 4, 5, 8])
def test_cutout_fills_a_square_clipped_at_the_borders_with_the_mean(side):
    height, width = 9, 12
    found, _ = augment(AugmentationConfig(cutout=side), constant(1, (height, width, 3)), mean=(99.6, 50.4, 0.0))
    cut = found[..., 0] != 1
    assert (found[cut] == [100, 50, 0]).all()
    assert (found[~cut] == 1).all()
    columns, rows = cut.any(axis=1), cut.any(axis=2)
    assert np.array_equal(cut, rows[:, :, None] & columns[:, None, :])
    centres = []
    for lines, length in ((rows, height), (columns, width)):
        first, last = lines.argmax(axis=1), length - 1 - lines[:, ::-1].argmax(axis=1)
        assert np.array_equal(lines.sum(axis=1), last - first + 1)  # one run
        whole = (first > 0) & (last < length - 1)
        assert (lines.sum(axis=1)[whole] == side).all()
        centre = np.where(first > 0, first + side // 2, last + 1 - side + side // 2)
        centres.append(np.clip(centre, 0, length - 1))
        assert stats.chisquare(np.bincount(centres[-1], minlength=length)).pvalue > 1e-5  # anywhere, borders too


def test_cutout_agrees_with_keras():
    images = noise(40, *SHAPE)
    found, _ = augment(AugmentationConfig(cutout=5), images, mean=(1, 2, 3))
    mask = (found == (1, 2, 3)).all(axis=-1, keepdims=True)
    layer = keras.layers.RandomErasing(dtype="uint8")
    expected = layer.transform_images(
        images, {"batch_masks": mask, "apply_erasing": np.ones(40, bool), "fill_value": np.uint8([1, 2, 3])}
    )
    assert np.array_equal(found, np.asarray(expected))
