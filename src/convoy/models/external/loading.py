"""Networks from configurations that were checked."""

from collections.abc import Callable, Sequence

import keras
from packaging.version import Version

from convoy.errors import ModelError

_REASON = 200  # characters of Keras' message, which may contain the whole configuration


def loaded(load: Callable[[], keras.Model], uri: str) -> keras.Model:
    """Return what a function of Keras loads; any error of it becomes a ``ModelError``."""
    try:
        return load()
    except MemoryError:
        raise
    except Exception as error:  # Keras may raise anything
        lines = str(error).strip().splitlines() or [type(error).__name__]
        advice = "expected a network of Keras' layers"
        if Version(keras.__version__) < Version("3.4"):
            advice += f"; Keras {keras.__version__} reads few files of Keras 2: import them with Keras 3.4 or newer"
        raise ModelError(f"{uri} cannot be loaded: {lines[0][:_REASON]}; {advice}") from None


def built(network: keras.Model, shape: Sequence[int | None] | None) -> keras.Model:
    """Return a network whose inputs have a shape, if the batch's shape is known."""
    if isinstance(network, keras.Sequential) and shape is not None and not network.built:
        network.build(tuple(shape))
    return network
