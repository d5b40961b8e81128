"""The list of tests that some versions cannot pass."""

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.version_differences import DIFFERENCES, applies


@pytest.mark.parametrize("entry", sorted({name.partition("[")[0] for names in DIFFERENCES.values() for name in names}))
def test_every_entry_names_a_test(entry):
    file, name = entry.split("::")
    assert re.search(rf"^def {name}\b", (Path(__file__).parent / file).read_text(), re.MULTILINE)


@pytest.mark.parametrize("versions", sorted({versions for versions, _ in DIFFERENCES}))
def test_every_entry_limits_the_versions_of_an_installed_library(versions):
    requirement = Requirement(versions)
    assert requirement.specifier
    assert metadata.version(requirement.name)


def test_any_specifier_selects_versions():
    major = Version(metadata.version("numpy")).major
    assert applies(f"numpy>={major},<{major + 1}")
    assert applies(f"numpy=={metadata.version('numpy')}")
    assert not applies(f"numpy<{major}")
    assert not applies(f"numpy>{major + 1}")
