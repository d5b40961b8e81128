"""Reading of Keras' files of weights, layer by layer. Code in such a file is never run.

Three formats: ``.keras`` archives, of which only the weights are read; ``.weights.h5`` of Keras 3; and the older HDF5
of ``keras.applications``' weights and of whole models (``.h5``). The format is detected from the content, not the name.
"""

import collections
import contextlib
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
from keras.src.legacy.saving import legacy_h5_format
from keras.src.saving import saving_lib
from keras.src.utils.naming import to_snake_case

from convoy.errors import ModelError
from convoy.models.pretrained.hdf5 import check_links, check_member

Shapes = list[tuple[int, ...]]

_LAYERS = "layers"
_IN_ARCHIVE = "model.weights.h5"  # the weights in a .keras file
_NUMBER = re.compile(r"(?P<base>.*?)(?:_(?P<number>\d+))?$")
_DRAWS = "seed_generator"  # the state of a layer's random numbers, which is not a weight


@dataclass(frozen=True)
class StoredLayer:
    """A layer's weights in an open file.

    Attributes:
        name: The layer's name; its key of ``layer_keys`` if the file has no names.
        shapes: Shapes of its weights, in Keras' order for files: the trainable ones first.
        load: Loads the weights into a layer; raises ``ValueError`` if they do not fit.
    """

    name: str
    shapes: Shapes
    load: Callable[[keras.Layer], None]


@dataclass(frozen=True)
class StoredWeights:
    """The layers with weights of an open file, in the order of the saved network.

    Attributes:
        layers: The layers.
        named: Whether the file has the layers' names; the first versions of Keras 3 did not write them.
    """

    layers: list[StoredLayer]
    named: bool


@contextlib.contextmanager
def stored_weights(file: str, source: str) -> Iterator[StoredWeights]:
    """Open a file of weights, and close it at the end of the block.

    Args:
        file: Path of the file.
        source: The user's name for it, for messages.

    Raises:
        ModelError: The file cannot be read, or has no weights of a Keras network.
    """
    refused = f"model.initial_weights {source!r}"
    expected = "expected a .keras, .weights.h5 or .h5 file that Keras has written"
    with contextlib.ExitStack() as stack:
        try:
            store = saving_lib.H5IOStore(_hdf5_of(Path(file), stack), mode="r")
            stack.callback(store.close)
            check_links(store.h5_file)
            found = _of_keras_3(store) if _LAYERS in store.h5_file else _of_older(store.h5_file)
        except Exception as error:  # h5py, zipfile and Keras may raise anything
            reason = error.strerror if isinstance(error, OSError) and error.strerror else _first_line(error)
            raise ModelError(f"{refused} cannot be read ({reason}); {expected}") from None
        if not found.layers:
            raise ModelError(f"{refused} holds no weights; {expected}")
        yield found


def _hdf5_of(file: Path, stack: contextlib.ExitStack) -> Path:
    """Return the file itself, or the weights extracted from a ``.keras`` archive, in which seeking back is slow."""
    with open(file, "rb"):  # raises an error with the reason if it cannot be opened
        pass
    if not zipfile.is_zipfile(file):
        return file
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="convoy-"))
    with zipfile.ZipFile(file) as archive:
        check_member(archive, _IN_ARCHIVE)
        return Path(archive.extract(_IN_ARCHIVE, folder))


def layer_keys(layers: list[Any]) -> list[str]:
    """Return Keras 3's keys of layers in files: their class, numbered per class (``conv2d``, ``conv2d_1``)."""
    keys, used = [], collections.Counter[str]()
    for key in map(class_key, layers):
        keys.append(f"{key}_{used[key]}" if used[key] else key)
        used[key] += 1
    return keys


def class_key(layer: Any) -> str:
    """Return a layer's class in Keras' spelling of automatic names: ``conv2d``, ``batch_normalization``."""
    return str(to_snake_case(type(layer).__name__))


def _of_keras_3(store: Any) -> StoredWeights:
    layers, named = [], False
    for key in sorted(store.h5_file[_LAYERS], key=_by_number):
        path = f"{_LAYERS}/{key}"
        group = store.h5_file[path]
        shapes: dict[str, tuple[int, ...]] = {}
        group.visititems(lambda at, item, shapes=shapes: _note_shape(shapes, at, item))
        if shapes:
            name = group["vars"].attrs.get("name") if "vars" in group else None
            named = named or name is not None
            ordered = [shapes[at] for at in sorted(shapes, key=_by_number)]
            layers.append(StoredLayer(str(name or key), ordered, _loader(store, path)))
    return StoredWeights(layers, named)


def _loader(store: Any, path: str) -> Callable[[keras.Layer], None]:
    def load(layer: keras.Layer) -> None:
        errors: dict[int, tuple[Any, Exception]] = {}
        # Keras 3.2 fails without these three sets; with them, errors are collected instead of raised.
        saving_lib._load_state(layer, store, None, path, False, set(), set(), errors)
        for _, error in errors.values():
            raise error

    return load


def _note_shape(shapes: dict[str, tuple[int, ...]], at: str, item: Any) -> None:
    if isinstance(item, h5py.Dataset) and _DRAWS not in at:
        shapes[at] = tuple(item.shape)


def _by_number(key: str) -> tuple[Any, ...]:
    """Return a key that sorts ``dense``, ``dense_1``, ..., ``dense_10`` and ``vars/0``, ..., ``vars/10``."""
    *folders, last = key.split("/")
    if last.isdigit():
        return (*folders, "", int(last))
    match = _NUMBER.match(last)
    assert match is not None
    return (*folders, match["base"], int(match["number"] or 0))


def _of_older(file: Any) -> StoredWeights:
    group = file
    if "model_weights" in file and not legacy_h5_format.load_attributes_from_hdf5_group(file, "layer_names"):
        group = file["model_weights"]  # of a whole model
    layers = []
    for name in legacy_h5_format.load_attributes_from_hdf5_group(group, "layer_names"):
        own = group[name]
        weights = legacy_h5_format.load_attributes_from_hdf5_group(own, "weight_names")
        values = [own[weight] for weight in weights]
        if values:
            layers.append(StoredLayer(name, [tuple(value.shape) for value in values], _assigner(values)))
    return StoredWeights(layers, named=True)


def _assigner(values: list[Any]) -> Callable[[keras.Layer], None]:
    def assign(layer: keras.Layer) -> None:
        for variable, value in zip(file_order(layer), values, strict=True):
            variable.assign(value[()])

    return assign


def file_order(layer: Any) -> list[Any]:
    """Return a layer's weights in the order of files."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
