"""docs/notebooks.md: its Python code runs as it is, and it lists all notebooks."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")


def test_every_notebook_is_listed():
    listed = re.findall(r"\]\(\.\./notebooks/([\w-]+\.ipynb)\)", PAGE)
    assert listed == sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.spark
@pytest.mark.long
def test_the_code_runs(spark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    values = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(block, values)
    assert values["spark"] is spark
    assert values["images"].images.shape[1:] == (32, 32, 1)
    assert (values["config"].training.epochs, values["longer"].training.epochs) == (8, 20)
