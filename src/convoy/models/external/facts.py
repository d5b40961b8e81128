"""What a network that Convoy did not train does not say about itself. No TensorFlow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Head = Literal["softmax", "sigmoid", "logits"]
Preprocessing = str | Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a network, each None if it is not given.

    Attributes:
        classes: Class names, by index.
        size: (height, width) or (height, width, channels) of its images.
        resize: How images are resized to that size; see ``Geometry.resize``.
        preprocessing: What its samples went through in its training: ``none``, ``0..1``, ``-1..1``, ``imagenet``,
            ``caffe``, or a mapping of ``mean`` and ``std`` to one value for each channel, in units of the samples.
        head: What it returns: ``softmax`` (probabilities), ``sigmoid`` (the probability of the second of two classes)
            or ``logits``.
    """

    classes: Sequence[str] | None = None
    size: Sequence[int] | None = None
    resize: str | None = None
    preprocessing: Preprocessing | None = None
    head: Head | None = None
