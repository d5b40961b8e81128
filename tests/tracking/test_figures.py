"""Pictures are drawn whatever the classes are called."""

import io
import warnings

import numpy as np
import pytest

from convoy.tracking.figures import confusion_picture, training_curves


@pytest.mark.parametrize("names", [["$a^$", "$", "b_{"], ["x" * 200, "y", "z"], ["a"] * 70])
def test_odd_class_names_do_not_spoil_the_confusion_matrix(names):
    figure = confusion_picture(np.eye(len(names), dtype=np.int64) * 7, names, "test")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO())


def test_curves_are_drawn_from_the_first_epoch_on():
    epoch = {"loss": 1.0, "accuracy": 0.5, "val_loss": float("nan"), "val_accuracy": 0.4}
    training_curves([epoch]).savefig(io.BytesIO())
