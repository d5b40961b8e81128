"""Loading of ``.keras`` files in safe mode: code in the file is never run."""

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from convoy.errors import ModelError

if TYPE_CHECKING:
    import keras

LossActivation = Literal["softmax", "sigmoid"]

_OTHERS = {b"\x89HDF": "an .h5 file", b"\x80": "a pickle"}
_EXPECTED = "expected a .keras file, as model.save('model.keras') of Keras 3 writes it"
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_CONFIG_BYTES = 256 << 20  # limit of a network's configuration; the largest ones have a few MB
_CODE = ("Lambda", "__lambda__")
_REASON = 200  # characters of Keras' message, which may contain the whole configuration


def check(content: bytes, uri: str) -> None:
    """Raise ``ModelError`` unless a file is safe to load; the file is not loaded.

    Args:
        content: The file.
        uri: URI of the model, for messages.

    Raises:
        ModelError: It is not a ``.keras`` file, or contains code.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            for name in names:
                path = PurePosixPath(name.replace("\\", "/"))
                if path.is_absolute() or ".." in path.parts:
                    raise ModelError(f"{uri} is refused: its .keras file has a member {name!r}, which leads out of it")
            if not {_CONFIG, _WEIGHTS} <= set(names):
                raise ModelError(f"{uri} is refused: its network is a zip without {_CONFIG} or {_WEIGHTS}; {_EXPECTED}")
            if archive.getinfo(_CONFIG).file_size > _CONFIG_BYTES:
                raise ModelError(f"{uri} is refused: {_CONFIG} in its .keras file is over {_CONFIG_BYTES >> 20} MiB")
            config = json.loads(archive.read(_CONFIG))
        found = code_in(config)
    except (zipfile.BadZipFile, ValueError, RecursionError, NotImplementedError, RuntimeError) as error:
        what = next((kind for start, kind in _OTHERS.items() if content.startswith(start)), None)
        reason = f"its network is {what}" if what else f"its network cannot be read ({_first_line(error)})"
        raise ModelError(f"{uri} is refused: {reason}; {_EXPECTED}") from None
    if found is not None:
        raise ModelError(
            f"{uri} is refused: its layer {found!r} holds Python code (a lambda), which would run when the model is"
            " loaded; replace it with Keras' layers or operations, and log the model again"
        )


def configuration(content: bytes) -> dict[str, Any]:
    """Return the configuration in a ``.keras`` file that was checked."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found: dict[str, Any] = json.loads(archive.read(_CONFIG))
        return found


def loss_activation(compiled: Any) -> LossActivation | None:
    """Return the activation that the loss in a compile configuration applies to the network's output.

    Args:
        compiled: ``compile_config`` of a ``.keras`` file, or ``training_config`` of an older one.

    Returns:
        None if the loss takes probabilities, or is not known.
    """
    loss = compiled.get("loss") if isinstance(compiled, dict) else None
    if isinstance(loss, dict) and "class_name" not in loss:  # by the name of the output
        loss = list(loss.values())
    if isinstance(loss, list):
        loss = loss[0] if len(loss) == 1 else None
    if (
        not isinstance(loss, dict)
        or not isinstance(config := loss.get("config"), dict)
        or not config.get("from_logits")
    ):
        return None
    name = str(loss["class_name"]).rpartition(">")[2]
    return "sigmoid" if name.startswith("Binary") else "softmax" if "Categorical" in name else None


def load(content: bytes, uri: str) -> "keras.Model":
    """Load a network, uncompiled, after ``check``.

    Raises:
        ModelError: As ``check``, or Keras cannot load it in safe mode, e.g. because of unknown layers.
    """
    check(content, uri)
    import keras

    import convoy.models.layers.custom  # noqa: F401  (registers the custom layers)

    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        file = os.path.join(folder, "model.keras")
        with open(file, "wb") as out:
            out.write(content)
        try:
            return keras.saving.load_model(file, compile=False, safe_mode=True)
        except MemoryError:
            raise
        except Exception as error:  # Keras may raise anything
            raise ModelError(
                f"{uri} cannot be loaded in Keras' safe mode: {_first_line(error)}; expected a network of Keras' layers"
            ) from None


def code_in(config: Any) -> str | None:
    """Return the name of a layer that contains code, anywhere in the configuration of a network; None without one."""
    return next(_code(config), None)


def _code(config: Any, layer: str = "?") -> Iterator[str]:
    """Yield the names of the layers that contain code, anywhere in a configuration."""
    if isinstance(config, dict):
        inner = config.get("config")
        name = inner.get("name") if isinstance(inner, dict) else None
        layer = name if isinstance(name, str) else layer
        if config.get("class_name") in _CODE:
            yield layer
    if isinstance(config, dict | list):
        for value in config.values() if isinstance(config, dict) else config:
            yield from _code(value, layer)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:_REASON]
