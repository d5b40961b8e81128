"""Tested versions and supported ranges of packages, with which installed packages are compared."""

import re
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

import convoy


@dataclass(frozen=True)
class Pins:
    """Versions of the packages that Convoy imports, by name of the distribution.

    Attributes:
        tested: The newest tested versions.
        ranges: The supported ranges, as in setup.py (``>=3,<4``); empty if Convoy is not installed.
    """

    tested: dict[str, str]
    ranges: dict[str, str] = field(default_factory=dict)


def parse(constraints: str, requirements: list[str]) -> Pins:
    """Return the pins of the packages that Convoy requires.

    Args:
        constraints: Text of constraints.txt; lines for other versions of Python are ignored.
        requirements: The requirements in the installed metadata.
    """
    ranges: dict[str, str] = {}
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.name == "tensorflow-cpu":
            ranges[canonicalize_name(requirement.name)] = str(requirement.specifier)
    tested: dict[str, str] = {}
    for line in re.findall(r"^[A-Za-z0-9][^\\\n]*", constraints, re.MULTILINE):
        try:
            pin = Requirement(line.strip())
        except InvalidRequirement:
            continue
        name = canonicalize_name(pin.name)
        if (name in ranges or not requirements) and (pin.marker is None or pin.marker.evaluate()):
            tested[name] = next(iter(pin.specifier)).version
    return Pins(tested, ranges)


def load() -> Pins:
    """Load the pins of this Convoy from its copy of constraints.txt and its installed metadata."""
    try:
        requirements = metadata.requires("convoy-ml") or []
    except metadata.PackageNotFoundError:
        requirements = []
    return parse(Path(convoy.__file__).with_name("constraints.txt").read_text(encoding="utf-8"), requirements)
