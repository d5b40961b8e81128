"""Augmentation: what is drawn depends on (seed, epoch, sample) alone; what does not fit is refused."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.python.framework import config as tensorflow_config

from convoy.config import AugmentationConfig, TrainingConfig
from convoy.errors import ConfigError
from convoy.training.input.augmentation import Augmenter
from tests.conftest import noise
from tests.training.augmented import SHAPE, augment, constant

EVERYTHING = AugmentationConfig(flip="both", crop=3, rotation=30, brightness=0.3, mixup=0.4, cutout=5)
ALONE = [
    AugmentationConfig(flip="both"),
    AugmentationConfig(crop=3),
    AugmentationConfig(rotation=30),
    AugmentationConfig(brightness=0.3),
    AugmentationConfig(mixup=0.4),
    AugmentationConfig(cutout=5),
]


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
