"""What the architectures refuse, each in one line, and nothing that they could do."""

import keras
import pytest

from convoy.config import ModelConfig
from convoy.errors import ConvoyError, ModelError
from convoy.models.architectures.table import ARCHITECTURES
from tests.models.networks import make

pytestmark = pytest.mark.long

SIGNALS, VOLUMES = "signals (length, channels)", "volumes (depth, height, width, channels)"


@pytest.mark.parametrize("shape", [(500, 2), (16, 16, 3), (16, 16, 16, 1), (7,)])
@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "mlp"])
def test_samples_of_another_rank_are_refused_in_one_line(name, shape):
    rank, taken = {"cnn1d": (2, SIGNALS), "cnn3d": (4, VOLUMES)}.get(name, (3, "images (height, width, channels)"))
    if len(shape) == rank:
        return
    with pytest.raises(ModelError) as caught:
        make(name, shape, dtype="float32")
    assert str(caught.value) == f"model {name} takes {taken}; the dataset's samples are {shape}"


@pytest.mark.parametrize(
    ("options", "shape", "said"),
    [
        ({"name": "vgg16", "grouped": True}, (32, 32, 3), r"model\.grouped is True; .* vgg16, or model\.name alexnet"),
        (
            {"name": "inception_v3", "auxiliary_heads": True},
            (99, 99, 3),
            r"model\.auxiliary_heads is True; .* inception_v3, or model\.name googlenet",
        ),
        (
            {"name": "resnet20", "variant": "small"},
            (32, 32, 3),
            "'small', but resnet20 has one variant only; .*resnet18",
        ),
        (
            {"name": "vgg16", "variant": "paper"},
            (31, 99, 3),
            r"vgg16 \(paper variant\) .* 31x99x3: it takes sides of 32 .* model\.variant to small, which takes 1 or",
        ),
        (
            {"name": "inception_v3", "variant": "paper"},
            (32, 32, 3),
            "sides of 75 pixels .* small, which takes 17 or more",
        ),
        (
            {"name": "inception_v3"},
            (16, 16, 3),
            r"\(small variant\) .* sides of 17 pixels or more; raise dataset\.image",
        ),
        ({"name": "resnet50", "variant": "paper"}, (31, 31, 3), "it takes sides of 32 pixels or more"),
        ({"name": "alexnet", "variant": "paper"}, (66, 67, 3), "it takes sides of 67 pixels or more"),
        (
            {"name": "lenet5", "preprocessing": "imagenet"},
            (32, 32, 3),
            "not define for lenet5; .*vgg16, vgg19, inception",
        ),
        ({"name": "resnet50", "preprocessing": "imagenet"}, (32, 32, 1), r"takes 3 channels \(RGB\), not 1"),
        (
            {"name": "cnn3d"},
            (4, 9, 9, 1),
            "cnn3d does not fit samples of 4x9x9x1: layer 'conv1' \\(Conv3D\\): 4x9x9 with a 5x5x5 .*; choose",
        ),
        ({"name": "cnn3d"}, (9, 9, 9, 1), "layer 'pool2' .* 1x1x1 with a 2x2x2"),
        (
            {"name": "googlenet", "auxiliary_heads": True},
            (8, 8, 3),
            "layer 'auxiliary1_pool' .* 4x4 with a 5x5",
        ),
    ],
)
def test_what_an_architecture_cannot_do_is_refused_in_one_line(options, shape, said):
    with pytest.raises(ConvoyError, match=said) as caught:
        make(options.pop("name"), shape, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["inception_v3", "alexnet", "cnn3d"])
def test_the_shortest_sides_that_are_stated_are_the_shortest_that_fit(unset, name):
    """A pixel less does not fit the layers themselves, so that nothing is refused without need."""
    architecture, rank = ARCHITECTURES[name], ARCHITECTURES[name].rank
    if name == "cnn3d":
        assert make(name, (11,) * rank + (1,)).output_shape == (None, 10)
        with pytest.raises(ModelError):
            make(name, (10,) * rank + (1,))
        return
    shortest = architecture.smallest_small
    x = keras.Input((shortest, shortest, 3))
    assert architecture.function(x, 10, ModelConfig(name, variant="small")).shape == (None, 10)
    x = keras.Input((shortest - 1, shortest - 1, 3))
    with pytest.raises((ModelError, ValueError)):
        architecture.function(x, 10, ModelConfig(name, variant="small"))
