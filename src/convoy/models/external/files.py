"""Files of networks that other programs wrote: ``.keras``, HDF5 and SavedModel, read without running code."""

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras

from convoy.errors import ModelError
from convoy.models.external.legacy import check_config, first_shape, upgraded
from convoy.models.external.loading import built, loaded
from convoy.models.external.package import file_of
from convoy.models.external.saved_model import read_saved_model
from convoy.models.keras_file import LossActivation, check, configuration, loss_activation
from convoy.models.pretrained.hdf5 import check_links

_MLFLOW = ("data/model.keras", "data/model.h5", "data/model", "tfmodel")  # of the flavours keras and tensorflow
_EXPECTED = (
    "expected a .keras or .h5 file, a SavedModel folder, or a model logged with mlflow.keras or mlflow.tensorflow"
)


@dataclass(frozen=True)
class NetworkFile:
    """A network that was read.

    Attributes:
        content: Bytes of a ``.keras`` file.
        kind: ``keras``, ``h5`` or ``saved_model``.
        applied: The activation that the loss it was compiled with applies to its output; None if it applies none, or
            the file does not say.
    """

    content: bytes
    kind: str
    applied: LossActivation | None


def read_network(path: Path, uri: str) -> NetworkFile:
    """Read a network from a file or folder.

    Args:
        path: A ``.keras`` or HDF5 file, a SavedModel folder, or the folder of an MLflow model.
        uri: Its name for messages.

    Raises:
        ModelError: It is none of these, contains code, or has layers that are not Keras' own.
    """
    if (path / "MLmodel").is_file():
        path = next((path / name for name in _MLFLOW if (path / name).exists()), path / "data")
    if path.is_dir() and (path / "saved_model.pb").is_file():
        network, applied = read_saved_model(path, uri)
        return NetworkFile(file_of(network), "saved_model", applied)
    if not path.is_file():
        raise ModelError(f"{uri} has no network; {_EXPECTED}")
    if h5py.is_hdf5(path):
        return _read_hdf5(path, uri)
    content = path.read_bytes()
    check(content, uri)
    check_config(configuration(content), uri)
    return NetworkFile(content, "keras", loss_activation(configuration(content).get("compile_config")))


def _read_hdf5(path: Path, uri: str) -> NetworkFile:
    """Read a network from an HDF5 file of Keras 2 or 3, e.g. of Teachable Machine."""
    try:
        with h5py.File(path, "r") as file:
            check_links(file)
            config, compiled = _attribute(file, "model_config"), _attribute(file, "training_config")
    except (OSError, ValueError) as error:
        raise ModelError(f"{uri} is refused: it is not a sound HDF5 file ({error})") from None
    if config is None:
        raise ModelError(
            f"{uri} has weights only, without the network; save it with model.save, or use it with"
            " model.initial_weights"
        )
    check_config(config, uri)
    new, shape = upgraded(config), first_shape(config)
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        copy = os.path.join(folder, "model.h5")
        shutil.copyfile(path, copy)
        with h5py.File(copy, "r+") as file:
            file.attrs["model_config"] = json.dumps(new).encode()
        network = loaded(lambda: keras.saving.load_model(copy, compile=False), uri)
    return NetworkFile(file_of(built(network, shape)), "h5", loss_activation(compiled))


def _attribute(file: h5py.File, name: str) -> Any:
    value = file.attrs.get(name)
    if value is None:
        return None
    return json.loads(value.decode("utf-8") if isinstance(value, bytes) else value)
