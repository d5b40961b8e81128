"""A network as boxes to draw: activations, normalisations and the like are part of the preceding layer's box."""

from dataclasses import dataclass

from convoy.models.summary.arithmetic import times
from convoy.models.summary.describe import LayerDescription, NetworkDescription
from convoy.models.summary.graph import Shape
from convoy.models.summary.text import short_kind, side

COLOURS = {
    "input": "#d9d9d9",
    "convolution": "#7fb3d5",
    "pooling": "#8fc9a9",
    "dense": "#f2b872",
    "merge": "#e9e1f0",
    "other": "#f0e3c0",
}
_MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot")
_PART_OF_ANOTHER = (
    "BatchNormalization",
    "LayerNormalization",
    "GroupNormalization",
    "Normalization",
    "Rescaling",
    "Activation",
    "ReLU",
    "LeakyReLU",
    "PReLU",
    "ELU",
    "Softmax",
    "Dropout",
    "SpatialDropout",
    "GaussianNoise",
    "ZeroPadding",
    "Cropping",
    "Flatten",
    "Reshape",
    "Identity",
)


@dataclass(frozen=True)
class Box:
    """A box of the picture.

    Attributes:
        name: Name of its first layer.
        group: Key of ``COLOURS``.
        kind: Short name of its first layer's kind.
        sources: Indices of the boxes that it takes its input from.
        output: Output volume.
        size: Filter, e.g. ``5x5``; empty for layers without one.
        stride: ``/2``; empty for 1, and for layers without one.
        activation: Activation of the layer or of one after it; empty for none.
        weights: Number of weights of all layers in the box.
    """

    name: str
    group: str
    kind: str
    sources: tuple[int, ...]
    output: Shape
    size: str
    stride: str
    activation: str
    weights: int


def boxes_of(network: NetworkDescription) -> list[Box]:
    """Return the boxes of a network, each after those that it takes its input from."""
    members: list[list[LayerDescription]] = []
    owner: list[int] = []
    for layer in network.layers:
        joins = len(layer.sources) == 1 and layer.kind.startswith(_PART_OF_ANOTHER)
        if joins:
            owner.append(owner[layer.sources[0]])
            members[owner[-1]].append(layer)
        else:
            owner.append(len(members))
            members.append([layer])
    return [_box(layers, tuple(dict.fromkeys(owner[source] for source in layers[0].sources))) for layers in members]


def is_chain(boxes: list[Box]) -> bool:
    """Return whether each box takes only the output of the one before it."""
    return all(box.sources == ((index - 1,) if index else ()) for index, box in enumerate(boxes))


def _box(layers: list[LayerDescription], sources: tuple[int, ...]) -> Box:
    first = layers[0]
    # Padding before a filter is part of the filter; Flatten does not change the displayed volume.
    shaping = [layer for layer in layers if not layer.kind.startswith(("Flatten", "ZeroPadding"))]
    activations = [layer.activation for layer in layers if layer.activation]
    activations += [layer.kind.lower() for layer in layers if layer.kind.endswith("LU") and not layer.activation]
    return Box(
        name=first.name.rpartition("/")[2],
        group=_group(first, bool(sources)),
        kind=short_kind(first.kind),
        sources=sources,
        output=(shaping or layers)[-1].output,
        size=times(first.size) if first.size else "",
        stride=f"/{side(first.stride)}" if first.stride and set(first.stride) != {1} else "",
        activation=activations[-1] if activations else "",
        weights=sum(layer.parameters for layer in layers),
    )


def _group(layer: LayerDescription, has_sources: bool) -> str:
    if not has_sources:
        return "input"
    if "Conv" in layer.kind:
        return "convolution"
    if "Pooling" in layer.kind:
        return "pooling"
    if layer.kind == "Dense":
        return "dense"
    return "merge" if len(layer.sources) > 1 or layer.kind in _MERGES else "other"
