"""Compatible versions: of Python, of Java for each version of Spark, and of pairs of packages. Pure functions."""

import sys
from collections.abc import Mapping
from importlib import metadata

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

PYTHONS = ("3.11", "3.12", "3.13")

_OTHER_NAMES = {"tensorflow": ("tensorflow-cpu",), "tensorflow-cpu": ("tensorflow",)}  # for CPUs and for GPUs

# (if this is installed, that is needed, source)
_PAIRS = (
    ("pyspark<4", "pandas<3", "PySpark 3.5 uses functions that pandas 3 removed"),
    ("pyspark>=4.0", "pandas>=2", "pyspark/sql/pandas/utils.py of 4.0"),
    ("pyspark>=4.1", "pandas>=2.2", "pyspark/sql/pandas/utils.py of 4.1"),
    ("pyspark>=4.1", "pyarrow>=15", "pyspark/sql/pandas/utils.py of 4.1"),
    ("pyspark>=4.2", "pyarrow>=18", "pyspark/sql/pandas/utils.py of 4.2"),
    ("pyarrow<16", "numpy<2", "wheels of PyArrow before 16 were compiled for NumPy 1"),
    ("pandas<2.2.2", "numpy<2", "wheels of pandas before 2.2.2 were compiled for NumPy 1"),
    ("tensorflow<2.18", "numpy<2", "wheels of TensorFlow before 2.18 were compiled for NumPy 1"),
    ("tensorflow<2.20", "python<3.13", "TensorFlow has wheels for Python 3.13 since 2.20"),
    ("opencv-python-headless>=4.12", "numpy>=2", "OpenCV's wheels require NumPy 2 since 4.12"),
)


def java_versions(spark: str) -> tuple[int, ...]:
    """Return the major versions of Java that a version of Spark supports and Convoy is tested with.

    Source: "Downloading" in https://spark.apache.org/docs/3.5.0/ and https://spark.apache.org/docs/4.0.0/.

    Args:
        spark: Version of Spark, such as ``4.1.4``.
    """
    return (8, 11, 17) if spark.startswith("3.") else (17, 21)


def conflicts(versions: Mapping[str, str | None]) -> list[str]:
    """Return one text for each pair of installed packages that are incompatible.

    Args:
        versions: Name -> version, of Python (as ``python``) and of packages; None for a missing package.

    Returns:
        Texts such as ``pyspark 4.2.1 needs pyarrow>=18, found 14.0.2``.
    """
    found = {}
    for having, needed, _ in _PAIRS:
        one, other = Requirement(having), Requirement(needed)
        version, its = _parsed(versions.get(one.name)), _parsed(versions.get(other.name))
        if version is None or its is None or not one.specifier.contains(version, prereleases=True):
            continue
        if not other.specifier.contains(its, prereleases=True):
            # The last pair of two packages has the narrowest range.
            found[one.name, other.name] = f"{one.name} {version} needs {needed}, found {its}"
    return list(found.values())


def installed() -> dict[str, str | None]:
    """Return the installed versions of the packages that ``conflicts`` compares, and this version of Python."""
    names = {Requirement(text).name for pair in _PAIRS for text in pair[:2]} - {"python"}
    return {"python": f"{sys.version_info[0]}.{sys.version_info[1]}"} | {name: version_of(name) for name in names}


def version_of(name: str) -> str | None:
    """Return the installed version of a distribution, under any of its names; None if it is missing."""
    for known in (name, *_OTHER_NAMES.get(name, ())):
        try:
            return metadata.version(known)
        except metadata.PackageNotFoundError:
            continue
    return None


def _parsed(version: str | None) -> Version | None:
    try:
        return None if version is None else Version(version)
    except InvalidVersion:  # e.g. of a vendor's build
        return None
