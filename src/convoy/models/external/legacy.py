"""Configurations of networks that Keras 2 wrote, in the words of Keras 3."""

from importlib import metadata
from typing import Any

from packaging.version import Version

from convoy.errors import ModelError
from convoy.models.keras_file import code_in

_GRAPHS = {"Model": "Functional", "Functional": "Functional", "Sequential": "Sequential"}
_HAS_SINGLE_ENDS = Version(metadata.version("keras")) >= Version("3.4")  # earlier ones unpack a list of one
_MODULES = (
    "keras.",
    "tf_keras.",
    "tensorflow.keras.",
    "tensorflow.python.keras.",
    "builtins.",
    "convoy.models.layers.",
)


def check_config(config: Any, uri: str) -> None:
    """Raise ``ModelError`` for a configuration that contains code, or layers that are not Keras' own."""
    try:
        found, foreign = code_in(config), _foreign(config)
    except RecursionError:
        raise ModelError(f"{uri} is refused: its configuration is nested too deeply") from None
    if found is not None:
        raise ModelError(
            f"{uri} is refused: its layer {found!r} holds Python code (a lambda), which would run when the model is"
            " loaded; replace it with Keras' layers or operations, and save the model again"
        )
    if foreign is not None:
        raise ModelError(f"{uri} is refused: it has {foreign}, which is not one of Keras' layers or functions")


def _foreign(config: Any) -> str | None:
    """Return the name of an object of another package, which Keras would import."""
    if isinstance(config, list):
        return next(filter(None, map(_foreign, config)), None)
    if not isinstance(config, dict):
        return None
    module, registered = config.get("module"), config.get("registered_name")
    if "class_name" in config:
        if isinstance(module, str) and not f"{module}.".startswith(_MODULES):
            return f"{module}.{config['class_name']}"
        if config["class_name"] == "function" or module == "builtins":
            return f"the function {config.get('config')!r}"
        if isinstance(registered, str) and ">" in registered and not registered.startswith("convoy>"):
            return registered
    return next(filter(None, map(_foreign, config.values())), None)


def upgraded(config: Any) -> Any:
    """Return the configuration of a network that Keras 2 saved, as Keras 3 reads it."""
    if isinstance(config, list):
        return [upgraded(value) for value in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "__tuple__":
        return [upgraded(value) for value in config.get("items", [])]
    config = {name: upgraded(value) for name, value in config.items()}
    kind, inner = config.get("class_name"), config.get("config")
    if kind in _GRAPHS:
        config["class_name"] = _GRAPHS[kind]
        for name in ("module", "registered_name", "build_config"):
            config.pop(name, None)
    if isinstance(inner, dict):
        for name in ("input_layers", "output_layers"):  # a list of one would make a network return a list of one
            ends = inner.get(name)
            if _HAS_SINGLE_ENDS and isinstance(ends, list) and len(ends) == 1 and isinstance(ends[0], list):
                inner[name] = ends[0]
        if kind in ("DepthwiseConv2D", "DepthwiseConv1D"):
            inner.pop("groups", None)  # always 1
        if kind == "InputLayer":
            if "batch_input_shape" in inner:
                inner["batch_shape"] = inner.pop("batch_input_shape")
            inner.pop("ragged", None)
        elif "batch_input_shape" in inner and kind not in _GRAPHS:
            inner.pop("batch_input_shape")  # the first layer of a sequential network: see ``with_input``
        axis = inner.get("axis")
        if kind == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
            inner["axis"] = axis[0]
    return config


def first_shape(config: Any) -> list[int | None] | None:
    """Return the shape of a batch that the first layer of a sequential network of Keras 2 names; None without one."""
    layers = config.get("config", {}).get("layers", []) if isinstance(config, dict) else []
    if not layers or config.get("class_name") != "Sequential":
        return None
    inner = layers[0].get("config", {})
    return inner.get("batch_input_shape") or inner.get("batch_shape") or first_shape(layers[0])
