"""SavedModel folders of Keras 2: the network's configuration and its weights, without running the graph.

A SavedModel is a program: its graph can read and write files. Keras 2 also wrote the configurations of the layers
(``keras_metadata.pb``, https://github.com/keras-team/tf-keras/blob/v2.15.0/tf_keras/protobuf/saved_metadata.proto) and
named the weights after them (``variables/``), from which the network is built again.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.legacy.saving.saving_utils import model_from_config  # as for HDF5 files of Keras 2

from convoy.errors import ModelError
from convoy.models.external.legacy import check_config, first_shape, upgraded
from convoy.models.external.loading import built, loaded
from convoy.models.keras_file import LossActivation, loss_activation

_VALUE = "VARIABLE_VALUE"
_MOST_BYTES = 256 << 20  # of configurations; the largest have some MB


def read_saved_model(folder: Path, uri: str) -> tuple[keras.Model, LossActivation | None]:
    """Return the network in a SavedModel folder, and the activation that its loss applies (see ``loss_activation``).

    Raises:
        ModelError: It has no configuration of Keras, contains code, or its weights do not fit.
    """
    described = {path: node for path, node in _keras_nodes(folder, uri)}
    root = described.get("root")
    if root is None or root.get("class_name") not in ("Sequential", "Functional", "Model"):
        raise ModelError(
            f"{uri} is a SavedModel without the layers of a network, e.g. of model.export or tf.saved_model.save: its"
            " graph is a program, which could read and write files; load it where it was made and save it with"
            " model.save('model.keras')"
        )
    config = {name: root[name] for name in ("class_name", "config")}
    check_config(config, uri)
    network = built(loaded(lambda: model_from_config(upgraded(config)), uri), first_shape(config))
    names = {path: str(node.get("name")) for path, node in described.items()}
    _set_weights(network, "root", names, _Checkpoint(folder, uri), uri)
    return network, loss_activation(root.get("training_config"))


def _set_weights(network: keras.Model, path: str, names: dict[str, str], checkpoint: "_Checkpoint", uri: str) -> None:
    """Set the weights of a network's layers, by the names of the layers and of the attributes that hold them."""
    paths = {names[below]: below for below in names if below.rpartition(".")[0] == path}
    for layer in network.layers:
        if not layer.weights:
            continue
        at = paths.get(layer.name)
        if at is None:
            raise ModelError(f"{uri}: layer {layer.name!r} has no weights in the SavedModel")
        if isinstance(layer, keras.Model):
            _set_weights(layer, at, names, checkpoint, uri)
            continue
        values = checkpoint.values(at)
        missing = [weight.name for weight in layer.weights if weight.name not in values]
        if missing:
            raise ModelError(
                f"{uri}: {missing[0]!r} of layer {layer.name!r} ({type(layer).__name__}) is not in the SavedModel;"
                " save the model as .h5 or .keras"
            )
        try:
            layer.set_weights([np.asarray(values[weight.name]) for weight in layer.weights])
        except ValueError as error:
            raise ModelError(f"{uri}: the weights of layer {layer.name!r} do not fit: {error}") from None
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


class _Checkpoint:
    """The values in ``variables/``, by the path of the object that holds them."""

    def __init__(self, folder: Path, uri: str) -> None:
        import tensorflow as tf
        from tensorflow.core.protobuf import trackable_object_graph_pb2

        try:
            self._reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
            graph = trackable_object_graph_pb2.TrackableObjectGraph()
            graph.ParseFromString(self._reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
        except Exception as error:  # TensorFlow and protobuf have their own
            raise ModelError(f"{uri}: its variables cannot be read: {str(error).splitlines()[0][:200]}") from None
        self._nodes = graph.nodes

    def values(self, path: str) -> dict[str, np.ndarray]:
        """Return the values of an object's attributes, e.g. of ``root.layer-1``: name -> array."""
        node = self._nodes[0]
        for name in path.split(".")[1:]:
            node = next((self._nodes[c.node_id] for c in node.children if c.local_name == name), None)
            if node is None:
                return {}
        found = {}
        for child in node.children:
            for attribute in self._nodes[child.node_id].attributes:
                if attribute.name == _VALUE:
                    found[child.local_name] = self._reader.get_tensor(attribute.checkpoint_key)
        if "depthwise_kernel" in found:  # DepthwiseConv2D of Keras 3 calls it kernel
            found.setdefault("kernel", found["depthwise_kernel"])
        return found


def _keras_nodes(folder: Path, uri: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (path, description) of each layer in ``keras_metadata.pb``."""
    file = folder / "keras_metadata.pb"
    if not file.is_file():
        return
    if file.stat().st_size > _MOST_BYTES:
        raise ModelError(f"{uri} is refused: keras_metadata.pb is over {_MOST_BYTES >> 20} MiB")
    try:
        for number, node in _fields(file.read_bytes()):
            if number == 1:
                parts = {key: value for key, value in _fields(node) if isinstance(value, bytes)}
                described = json.loads(parts.get(5, b"{}"))
                if isinstance(described, dict):
                    yield parts.get(3, b"").decode(), described
    except (ValueError, IndexError) as error:
        raise ModelError(f"{uri} is refused: keras_metadata.pb cannot be read: {error}") from None


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield (number, value) of the fields of a protocol buffer: bytes, or an integer."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        number, kind = key >> 3, key & 7
        if kind == 0:
            yield number, varint()
        elif kind in (1, 2, 5):
            length = {1: 8, 5: 4}.get(kind) or varint()
            if kind == 2 and at + length > len(message):
                raise ValueError("it is truncated")
            yield number, message[at : at + length]
            at += length
        else:
            raise ValueError(f"field {number} is of an unknown kind")
