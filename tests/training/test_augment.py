"""Augmentation: what is drawn depends on (seed, epoch, sample) alone, and each option does what it says."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tensorflow.python.framework import config as tensorflow_config

from convoy.config import AugmentationConfig, TrainingConfig
from convoy.errors import ConfigError
from convoy.training.augment import Augmenter
from tests.conftest import noise

EVERYTHING = AugmentationConfig(flip="both", crop=3, rotation=30, brightness=0.3, mixup=0.4, cutout=5)
ALONE = [
    AugmentationConfig(flip="both"),
    AugmentationConfig(crop=3),
    AugmentationConfig(rotation=30),
    AugmentationConfig(brightness=0.3),
    AugmentationConfig(mixup=0.4),
    AugmentationConfig(cutout=5),
]
SHAPE = (11, 13, 3)
MANY = 4096


def augment(config, images, rows=None, epoch=0, seed=0, partners=None, mean=(0, 0, 0)):
    rows = np.arange(len(images)) if rows is None else rows
    augmenter = Augmenter(config, seed, mean[: images.shape[-1]])
    images, share = augmenter(tf.constant(epoch, tf.int64), tf.constant(rows, tf.int64), images, partners)
    return images.numpy(), share.numpy()


def constant(value, shape=(8, 8, 1), count=MANY):
    return tf.constant(value, tf.uint8, (count, *shape))


class Compiled:
    """An augmenter as a graph that takes batches of any size."""

    def __init__(self, config, images, partners, seed=0):
        self.config, self.images, self.partners = config, images, partners
        batch = tf.TensorSpec((None, *images.shape[1:]), tf.uint8)
        numbers = (tf.TensorSpec((), tf.int64), tf.TensorSpec((None,), tf.int64))
        self.graph = tf.function(Augmenter(config, seed, (99.6, 50, 0)), input_signature=(*numbers, batch, batch))

    def __call__(self, rows, epoch=7):
        rows = np.asarray(rows, np.int64)
        images, share = self.graph(np.int64(epoch), rows, self.images[rows], self.partners[rows])
        return images.numpy(), share.numpy()


# ---- one sample, one result


@pytest.fixture(scope="module", params=[EVERYTHING, *ALONE], ids=lambda config: str(config.enabled and config)[19:-1])
def compiled(request):
    return Compiled(request.param, noise(37, *SHAPE), noise(37, *SHAPE, seed=1))


@settings(max_examples=25)
@given(rows=st.lists(st.integers(0, 36), min_size=1, max_size=40))
def test_a_sample_is_the_same_in_any_batch(compiled, rows):
    images, share = compiled(np.arange(37))
    some, some_share = compiled(rows)
    assert np.array_equal(some, images[rows])
    assert np.array_equal(some_share, share[rows])


@pytest.mark.parametrize("config", [EVERYTHING, AugmentationConfig(rotation=180), AugmentationConfig(mixup=0.1)])
def test_values_that_fill_no_simd_register_are_the_same_to_the_last_bit(config):
    # `tf.cos` and `tf.pow` give a fifth of them another last bit, which shows in one of some thousand pixels.
    compiled = Compiled(config, noise(1001, *SHAPE), noise(1001, *SHAPE, seed=1))
    images, share = compiled(np.arange(1001))
    parts = [compiled(rows) for rows in np.arange(1001).reshape(-1, 7)]
    assert np.array_equal(np.concatenate([part for part, _ in parts]), images)
    assert np.array_equal(np.concatenate([part for _, part in parts]), share)


@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 37])
def test_slices_of_ranks_make_up_the_whole_batch(compiled, ranks):
    whole = compiled(np.arange(37))
    parts = [compiled(rows) for rows in np.array_split(np.arange(37), ranks)]
    for all_at_once, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        assert np.array_equal(np.concatenate(pieces), all_at_once)


def test_each_epoch_and_each_seed_draws_anew(compiled):
    first, again, later = (compiled(np.arange(37), epoch)[0] for epoch in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, later)
    other = Compiled(compiled.config, compiled.images, compiled.partners, seed=1)
    assert not np.array_equal(first, other(np.arange(37), 0)[0])


def test_equal_images_of_different_samples_get_different_changes():
    images, _ = augment(AugmentationConfig(brightness=0.5), constant(128))
    assert len(np.unique(images)) > 100


@pytest.fixture
def deterministic():
    tf.config.experimental.enable_op_determinism()
    yield
    tensorflow_config.disable_op_determinism()


@pytest.mark.usefixtures("deterministic")
def test_it_runs_in_a_pipeline_with_deterministic_operations():
    images = noise(20, *SHAPE)
    expected, share = augment(EVERYTHING, images, epoch=2, partners=images[::-1])
    augmenter = Augmenter(EVERYTHING, 0, (0, 0, 0))
    batches = tf.data.Dataset.from_tensor_slices((np.arange(20), images, images[::-1])).batch(8)
    batches = batches.map(
        lambda rows, own, partners: augmenter(tf.constant(2, tf.int64), rows, own, partners),
        num_parallel_calls=1,
        deterministic=True,
    )
    found, found_share = (np.concatenate(parts) for parts in zip(*batches.as_numpy_iterator(), strict=True))
    assert np.array_equal(found, expected)
    assert np.array_equal(found_share, share)


# ---- each option


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
    for angle in np.arange(-180, 180, 0.25):
        matrix = layer._compute_affine_matrix(
            *(
                0.5,
                0.5,
                tf.fill([8], np.float32(angle)),
                tf.zeros(8),
                tf.zeros(8),
                tf.ones(8),
                tf.zeros(8),
                tf.zeros(8),
            ),
            *(12, 12),
        )
        expected = layer.transform_images(tf.cast(images, tf.float32), {"rotation_matrix": matrix}).numpy()
        nearest = np.minimum(nearest, np.abs(expected - found).mean(axis=(1, 2, 3)))
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


# ---- the configuration


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("crop", -1),
        ("rotation", -1.0),
        ("rotation", 181.0),
        ("rotation", float("nan")),
        ("brightness", 1.5),
        ("brightness", -0.1),
        ("mixup", -0.2),
        ("mixup", float("inf")),
        ("mixup", float("nan")),
        ("cutout", -4),
    ],
)
def test_values_out_of_range_are_refused(field, value):
    with pytest.raises(ConfigError, match=rf"training\.augmentation\.{field} is {value!r}; expected"):
        AugmentationConfig(**{field: value})


def test_it_is_off_unless_something_is_asked_for():
    assert not TrainingConfig().augmentation.enabled
    assert all(config.enabled for config in [EVERYTHING, *ALONE])


@pytest.mark.parametrize(
    ("config", "shape", "dtype", "message"),
    [
        ({"crop": 28}, (28, 32, 1), "uint8", r"crop is 28; expected less than 28: the images are 28x32"),
        ({"cutout": 33}, (32, 40, 3), "uint8", r"cutout is 33; expected at most 32: the images are 32x40"),
        ({"flip": "both"}, (30,), "float32", r"images, uint8 .*; the samples are float32 \(30,\); leave the section"),
        ({"mixup": 0.2}, (32, 32, 3), "float32", r"the samples are float32 \(32, 32, 3\)"),
        ({"mixup": 0.2}, (32, 32), "uint8", r"the samples are uint8 \(32, 32\)"),
    ],
)
def test_what_does_not_fit_the_samples_is_refused(config, shape, dtype, message):
    with pytest.raises(ConfigError, match=message):
        AugmentationConfig(**config).check_fits(shape, dtype)


def test_what_fits_is_accepted():
    AugmentationConfig().check_fits((30,), "float32")
    AugmentationConfig(crop=27, cutout=28, flip="both").check_fits((28, 32, 1), "uint8")
