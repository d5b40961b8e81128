"""docs/api.md: what the docstrings of the public functions say."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import api_docs  # noqa: E402


def test_the_page_is_that_of_the_docstrings():
    assert api_docs.FILE.read_text(encoding="utf-8") == api_docs.page()
