"""Picture of a network by ``keras.utils.model_to_dot``, which needs Graphviz and the package pydot."""

import shutil
import sys
import tempfile
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path

import keras

from convoy.errors import ConfigError

_DPI = 72  # ResNet-50 is 24,000 pixels high


def can_draw() -> bool:
    """Return whether Graphviz's program ``dot`` and the package pydot are installed."""
    return shutil.which("dot") is not None and find_spec("pydot") is not None


def write_picture(model: keras.Model, path: str) -> None:
    """Write the graph of a network's layers, with their output shapes and activations, to a file.

    Args:
        model: The network.
        path: Path of the file; its extension determines the format: ``.png``, ``.svg``, ``.pdf``.

    Raises:
        ConfigError: Graphviz or pydot is missing or fails, or the file cannot be written.
    """
    if not can_draw():
        raise ConfigError(
            f"picture {path!r} needs Graphviz and pydot; install both (apt-get install graphviz, pip install pydot), or"
            " omit picture: the table of layers does not need them"
        )
    try:
        Path(path).write_bytes(_drawn(model, Path(path).suffix.lower()))
    except OSError as error:
        raise ConfigError(f"picture {path!r} cannot be written: {error.strerror}") from None


def _drawn(model: keras.Model, suffix: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder, redirect_stdout(sys.stderr):  # pydot prints errors
        file = Path(folder) / f"network{suffix}"
        try:
            # Not plot_model, which also opens the file with IPython, where that is installed: it cannot show SVG.
            graph = keras.utils.model_to_dot(
                model,
                show_shapes=True,
                show_layer_names=True,
                show_layer_activations=True,
                expand_nested=True,
                dpi=_DPI,
            )
            graph.write(str(file), format=suffix.removeprefix("."))
            return file.read_bytes()
        except Exception as error:  # pydot raises AssertionError if dot fails
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConfigError(f"the network {model.name} cannot be drawn by Graphviz: {reason}") from None
