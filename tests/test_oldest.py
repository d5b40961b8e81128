"""The list of what the oldest versions do not do."""

import re
from pathlib import Path

import pytest

from tests.oldest import DIFFERENCES


@pytest.mark.parametrize("entry", sorted({name.partition("[")[0] for names in DIFFERENCES.values() for name in names}))
def test_what_is_skipped_is_a_test(entry):
    file, name = entry.split("::")
    assert re.search(rf"^def {name}\b", (Path(__file__).parent / file).read_text(), re.MULTILINE)
