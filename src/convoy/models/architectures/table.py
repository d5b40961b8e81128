"""The table of architectures, and the samples that each of them accepts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from convoy.config import ModelConfig
from convoy.errors import ModelError, did_you_mean
from convoy.models.architectures.alexnet import alexnet
from convoy.models.architectures.applications import inception_v3, resnet50
from convoy.models.architectures.classic import lenet5, mlp, mnist_cnn
from convoy.models.architectures.googlenet import googlenet
from convoy.models.architectures.resnet import resnet18, resnet20, resnet34, resnet56
from convoy.models.architectures.signals import cnn1d
from convoy.models.architectures.vgg import vgg11, vgg16, vgg19
from convoy.models.architectures.volumes import cnn3d
from convoy.models.layers.blocks import KerasTensor

SAMPLES = {
    1: "signals (length, channels)",
    2: "images (height, width, channels)",
    3: "volumes (depth, height, width, channels)",
}
_SMALL_SIDE = 64


@dataclass(frozen=True)
class Architecture:
    """An architecture and its limits.

    Attributes:
        function: Takes normalised samples (N, ..., C), the number of classes and section ``model``, whose variant is
            ``paper`` or ``small``; returns probabilities (N, K).
        rank: Number of the samples' axes besides the channels; None accepts any.
        smallest: The shortest side that the paper's variant accepts, in pixels; 1 if layers check it themselves.
        smallest_small: The same for the small variant; None if there is none.
        imagenet: Preprocessing of ``keras.applications`` for the architecture; None if it does not have it.
    """

    function: Callable[[KerasTensor, int, ModelConfig], KerasTensor]
    rank: Literal[1, 2, 3] | None = 2
    smallest: int = 1
    smallest_small: int | None = None
    imagenet: Literal["caffe", "tf"] | None = None


ARCHITECTURES = {
    "lenet5": Architecture(lenet5),
    "alexnet": Architecture(alexnet, smallest=67, smallest_small=15),
    "vgg11": Architecture(vgg11, smallest=32, smallest_small=1),
    "vgg16": Architecture(vgg16, smallest=32, smallest_small=1, imagenet="caffe"),
    "vgg19": Architecture(vgg19, smallest=32, smallest_small=1, imagenet="caffe"),
    "googlenet": Architecture(googlenet, smallest_small=1),
    "inception_v3": Architecture(inception_v3, smallest=75, smallest_small=17, imagenet="tf"),
    "resnet18": Architecture(resnet18, smallest=32, smallest_small=1),
    "resnet34": Architecture(resnet34, smallest=32, smallest_small=1),
    "resnet50": Architecture(resnet50, smallest=32, smallest_small=1, imagenet="caffe"),
    "resnet20": Architecture(resnet20),
    "resnet56": Architecture(resnet56),
    "mnist_cnn": Architecture(mnist_cnn),
    "mlp": Architecture(mlp, rank=None),
    "cnn1d": Architecture(cnn1d, rank=1),
    "cnn3d": Architecture(cnn3d, rank=3),
}


def choose(config: ModelConfig, shape: Sequence[int]) -> tuple[Architecture, ModelConfig]:
    """Return the architecture for samples of a shape.

    Args:
        config: Section ``model``.
        shape: Shape of a sample, channels last.

    Returns:
        The architecture, and the section with variant ``paper`` or ``small``.

    Raises:
        ModelError: There is no architecture of that name, or it does not accept such samples or options.
    """
    name = config.name
    if name not in ARCHITECTURES:
        raise ModelError(
            f"model.name {name!r} is unknown; expected one of {', '.join(ARCHITECTURES)}"
            f"{did_you_mean(name, ARCHITECTURES)}"
        )
    architecture = ARCHITECTURES[name]
    if architecture.rank is not None and len(shape) != architecture.rank + 1:
        raise ModelError(f"model {name} takes {SAMPLES[architecture.rank]}; the dataset's samples are {tuple(shape)}")
    if config.preprocessing == "imagenet":
        check_imagenet(name, shape)
    variant = resolve_variant(name, config.variant, shape)
    _check_size(name, variant, shape)
    return architecture, replace(config, variant=variant)


def resolve_variant(
    name: str, variant: Literal["auto", "paper", "small"], shape: Sequence[int]
) -> Literal["paper", "small"]:
    """Return the variant for samples of a shape.

    ``auto`` is ``small``, if there is such a variant, for images with sides of up to 64 pixels, and for images with a
    side that is too short for the paper's network.

    Raises:
        ModelError: The variant is ``small``, and the architecture has no such variant.
    """
    architecture, sides = ARCHITECTURES[name], shape[:-1]
    if variant == "auto":
        is_small = max(sides, default=1) <= _SMALL_SIDE or min(sides) < architecture.smallest
        return "small" if is_small and architecture.smallest_small is not None else "paper"
    if variant == "small" and architecture.smallest_small is None:
        having = ", ".join(known for known, other in ARCHITECTURES.items() if other.smallest_small is not None)
        raise ModelError(
            f"model.variant is 'small', but {name} has one variant only; expected 'auto' or 'paper', or a model.name of"
            f" {having}"
        )
    return variant


def _check_size(name: str, variant: Literal["paper", "small"], shape: Sequence[int]) -> None:
    architecture, shortest = ARCHITECTURES[name], min(shape[:-1], default=1)
    smallest = architecture.smallest_small if variant == "small" else architecture.smallest
    assert smallest is not None
    if shortest >= smallest:
        return
    size = "x".join(map(str, shape))
    advice = "raise dataset.image.height and width, or choose another model.name"
    if variant == "paper" and architecture.smallest_small is not None:
        advice = f"set model.variant to small, which takes {architecture.smallest_small} or more, or {advice}"
    raise ModelError(
        f"{name} ({variant} variant) does not fit images of {size}: it takes sides of {smallest} pixels or more;"
        f" {advice}"
    )


def check_imagenet(name: str, shape: Sequence[int]) -> None:
    """Raise ``ModelError`` unless ``model.preprocessing: imagenet`` is defined for an architecture and its samples."""
    if name not in ARCHITECTURES or ARCHITECTURES[name].imagenet is None:
        having = ", ".join(known for known, other in ARCHITECTURES.items() if other.imagenet)
        raise ModelError(
            f"model.preprocessing is 'imagenet', which keras.applications does not define for {name}; expected"
            f" 'dataset', 'none', or a model.name of {having}"
        )
    if shape[-1] != 3:
        raise ModelError(
            f"model.preprocessing is 'imagenet', which takes 3 channels (RGB), not {shape[-1]}; set it to 'dataset', or"
            " dataset.image.channels to 3 and ingest again"
        )
