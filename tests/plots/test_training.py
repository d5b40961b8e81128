"""Pictures are drawn whatever the classes are called."""

import io
import warnings

import numpy as np
import pytest

from convoy.config import AugmentationConfig
from convoy.plots.training import augmented_sheet, confusion_picture, training_curves
from convoy.training.input.augmentation import Augmenter
from tests.conftest import noise


@pytest.mark.parametrize("names", [["$a^$", "$", "b_{"], ["x" * 200, "y", "z"], ["a"] * 70])
def test_odd_class_names_do_not_spoil_the_confusion_matrix(names):
    figure = confusion_picture(np.eye(len(names), dtype=np.int64) * 7, names, "test")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO())


def test_curves_are_drawn_from_the_first_epoch_on():
    epoch = {"loss": 1.0, "accuracy": 0.5, "val_loss": float("nan"), "val_accuracy": 0.4}
    training_curves([epoch]).savefig(io.BytesIO())


@pytest.mark.parametrize("shape", [(3, 8, 12, 3), (1, 8, 8, 1)])
@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_the_sheet_shows_originals_and_what_training_makes_of_them(shape, mixup):
    images = noise(*shape)
    augmenter = Augmenter(AugmentationConfig(flip="horizontal", mixup=mixup), 5, [0.0] * shape[-1])
    figure = augmented_sheet(images, augmenter, epochs=4)
    figure.savefig(io.BytesIO())
    cells = np.reshape([axes.images[0].get_array() for axes in figure.axes], (shape[0], 5, *shape[1:]))
    assert np.array_equal(cells[:, 0], images)
    assert len({cell.tobytes() for cell in cells[0]}) > 1
    if not mixup:
        for epoch in range(4):
            trained, _ = augmenter(np.int64(epoch), np.arange(shape[0]), images)
            assert np.array_equal(cells[:, 1 + epoch], trained)
