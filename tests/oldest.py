"""The oldest versions that Convoy runs with are those of Databricks Runtime 15.4 LTS ML: what they do not do."""

import inspect
from importlib import metadata

import pytest
from packaging.requirements import Requirement


def not_with(version: str, why: str) -> pytest.MarkDecorator:
    """Skip a test where a version, ``keras==3.2.1``, is installed.

    Args:
        version: A package's name and the versions that are meant.
        why: What it does instead, or lacks.
    """
    requirement = Requirement(version)
    installed = metadata.version(requirement.name)
    return pytest.mark.skipif(requirement.specifier.contains(installed), reason=f"{requirement.name} {installed} {why}")


def clear_session() -> None:
    """``keras.backend.clear_session``, without its collection of garbage where Keras leaves the choice."""
    import keras

    choice = (
        {"free_memory": False} if "free_memory" in inspect.signature(keras.backend.clear_session).parameters else {}
    )
    keras.backend.clear_session(**choice)
