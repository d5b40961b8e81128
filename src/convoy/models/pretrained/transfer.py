"""Transfer of given weights to a network, and freezing of layers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from convoy.errors import ModelError, did_you_mean
from convoy.models.pretrained.weights_file import Shapes, StoredLayer, class_key, file_order, layer_keys, stored_weights

_LISTED = 12  # names in a message


@dataclass(frozen=True)
class InitialWeights:
    """Initial weights of a training; this is sent to the ranks, and rank 0 reads the file.

    Attributes:
        file: A file of weights (see ``weights_file``).
        source: The user's name for it: the field ``model.initial_weights``.
        classes: Names of the classes that the weights were trained for, by index; None if unknown.
    """

    file: str
    source: str
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Transferred:
    """The result of a transfer, for layers with weights.

    Attributes:
        taken: Layers with the given weights.
        new: Layers that are initialised randomly.
        unused: Layers of the file that the network does not have.
    """

    taken: list[str]
    new: list[str]
    unused: list[str]

    def __str__(self) -> str:
        """Return a text, e.g. ``weights of 4 layers; new: output; not used: predictions``."""
        parts = [f"weights of {len(self.taken)} layers"]
        parts += [
            f"{what}: {_listed(names)}" for what, names in (("new", self.new), ("not used", self.unused)) if names
        ]
        return "; ".join(parts)


def weights_in_file(source: str) -> InitialWeights:
    """Return the weights in a file.

    Args:
        source: Path of the file, as in ``model.initial_weights``.

    Raises:
        ModelError: There is no such file.
    """
    path = Path(source).expanduser()
    if not path.is_file():
        raise ModelError(
            f"model.initial_weights {source!r} is not a file, and not a model URI either; expected a .keras,"
            " .weights.h5 or .h5 file, models:/name/version, models:/name@alias or runs:/<run id>/model"
        )
    return InitialWeights(str(path), source)


def start_from(model: keras.Model, weights: InitialWeights, classes: Sequence[str]) -> Transferred:
    """Load the weights of a file into a network, layer by layer.

    Layers are matched by name; layers with Keras' automatic names, which are numbered throughout a process, by their
    order among layers of the same class, if their numbers are equal. The last layer is initialised randomly if the
    classes differ, or if the file has no layer of that name (``keras.applications``' files without top).

    Args:
        model: A functional or sequential network, built and completely trainable.
        weights: The file.
        classes: Names of the dataset's classes, by index.

    Raises:
        ModelError: The file cannot be read, or a layer is missing in it or has other shapes.
    """
    heads = head_layers(model)
    others = weights.classes is not None and list(weights.classes) != list(classes)
    taken, new = [], []
    with stored_weights(weights.file, weights.source) as stored:
        own = [(layer, key) for layer, key in zip(model.layers, layer_keys(model.layers), strict=True) if layer.weights]
        given = {layer.name: layer for layer in stored.layers}
        names = [layer.name if stored.named else key for layer, key in own]
        pairs = pair_names(names, list(given), {class_key(layer) for layer, _ in own})
        for (layer, _), name in zip(own, names, strict=True):
            found = given.get(pairs.get(name, ""))
            if layer.name in heads and (found is None or others or _only_classes_differ(layer, found, len(classes))):
                new.append(layer.name)
            elif found is None:
                raise ModelError(
                    f"model.initial_weights {weights.source!r} has no layer {layer.name!r}"
                    f" ({_shapes_text(_shapes(layer))}), which the network has; its layers are {_listed(list(given))}"
                    f"{did_you_mean(layer.name, given)}"
                )
            else:
                _load(layer, found, weights.source)
                taken.append(layer.name)
    if not taken:
        raise ModelError(
            f"model.initial_weights {weights.source!r} has weights for no layer but the last; its layers"
            f" are {_listed(list(given))}"
        )
    return Transferred(taken, new, [name for name in given if name not in pairs.values()])


def pair_names(network: Sequence[str], stored: Sequence[str], automatic: set[str]) -> dict[str, str]:
    """Return the stored name for each name of the network.

    Args:
        network: Names of the network's layers, in order.
        stored: Names of the file's layers, in order.
        automatic: Keras' automatic names, without their number (``conv2d``).
    """
    there = set(stored)
    pairs = {name: name for name in network if name in there}
    for base in automatic:
        pattern = re.compile(rf"{re.escape(base)}(_\d+)?")
        own = [name for name in network if pattern.fullmatch(name)]
        theirs = [name for name in stored if pattern.fullmatch(name)]
        if len(own) == len(theirs) and not there.issuperset(own):
            pairs |= dict(zip(own, theirs, strict=True))
    return pairs


def head_layers(model: keras.Model) -> set[str]:
    """Return the names of the last layers with weights on the paths to the output."""
    found: set[str] = set()
    seen: set[int] = set()
    pending = [tensor._keras_history.operation for tensor in model.outputs]
    while pending:
        operation = pending.pop()
        if id(operation) in seen:
            continue
        seen.add(id(operation))
        if getattr(operation, "weights", None):
            found.add(operation.name)
        else:
            pending += _inputs_of(operation)
    return found


def freeze(model: keras.Model, last: str) -> None:
    """Freeze a layer, all layers before it and all that it depends on, including batch normalisation's statistics.

    Args:
        model: A functional or sequential network, not compiled yet.
        last: Name of the layer.

    Raises:
        ModelError: There is no such layer, or nothing is left to train.
    """
    names = [layer.name for layer in model.layers]
    if last not in names:
        raise ModelError(
            f"model.freeze_to is {last!r}; expected a layer of the network: {_listed(names)}{did_you_mean(last, names)}"
        )
    frozen = {id(layer) for layer in model.layers[: names.index(last) + 1]}
    pending = [model.get_layer(last)]
    while pending:
        operation = pending.pop()
        new = [parent for parent in _inputs_of(operation) if id(parent) not in frozen]
        frozen.update(map(id, new))
        pending += new
    for layer in model.layers:
        if id(layer) in frozen:
            layer.trainable = False
    if not model.trainable_variables:
        raise ModelError(f"model.freeze_to {last!r} leaves nothing to train; name a layer before it")


def copy_by_name(source: keras.Model, target: keras.Model) -> None:
    """Copy weights from the layers of ``source`` to the layers of the same names in ``target``.

    Layers that only one of them has are not changed.
    """
    given = {layer.name: layer for layer in source.layers}
    for layer in target.layers:
        if layer.weights and layer.name in given:
            layer.set_weights(given[layer.name].get_weights())


def _inputs_of(operation: Any) -> list[Any]:
    return [parent.operation for node in operation._inbound_nodes for parent in node.parent_nodes]


def _load(layer: Any, found: StoredLayer, source: str) -> None:
    """Load a layer's weights, or raise ``ModelError`` if the shapes differ."""
    own = _shapes(layer)
    fits = sorted(own) == sorted(found.shapes)  # nested layers are stored in another order
    try:
        if fits:
            found.load(layer)
    except ValueError:
        fits = False
    if not fits:
        raise ModelError(
            f"model.initial_weights {source!r}: layer {layer.name!r} has weights of {_shapes_text(own)}, but"
            f" {_shapes_text(found.shapes)} are given; set section model to their network, or choose other"
            " weights"
        )


def _only_classes_differ(layer: Any, found: StoredLayer, classes: int) -> bool:
    own = _shapes(layer)
    if len(own) != len(found.shapes) or any(shape[-1:] != (classes,) for shape in own):
        return False
    last = {shape[-1:] for shape in found.shapes}
    rests = [shape[:-1] for shape in own], [shape[:-1] for shape in found.shapes]
    return rests[0] == rests[1] and len(last) == 1 and last != {(classes,)}


def _shapes(layer: Any) -> Shapes:
    return [tuple(variable.shape) for variable in file_order(layer)]


def _shapes_text(shapes: Shapes) -> str:
    return ", ".join("x".join(map(str, shape)) or "1" for shape in shapes) or "no shape"


def _listed(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return ", ".join([*names[:_LISTED], *more])
