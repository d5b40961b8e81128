"""The notebooks: what is committed is in step with their code, and they run from top to bottom."""

import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("nbclient", reason="nbclient is not installed; make dev installs it")

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import notebooks  # noqa: E402

NOTEBOOKS = notebooks.all_notebooks()
QUICK = {"3-score-millions": {"COPIES": 2, "EPOCHS": 4}}
"""The notebook that `make test` executes, and its smaller sizes; `make test-notebooks` executes all, as they are."""
MOST_BYTES, MOST_LINES = 500_000, 60
_ABSOLUTE = re.compile(r"(?<![\w.:~/])/(?:work|tmp|root|home|usr|opt|mnt)/[^\s\"'<>]*")
_NEUTRAL = ("/home/me/convoy",)


def texts(value):
    """All texts in an output, without pictures."""
    if isinstance(value, str):
        yield re.sub(r"data:image/png;base64,[\w+/=]+", "", value)
    elif isinstance(value, dict):
        for key, each in value.items():
            if not key.startswith("image/"):
                yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


def outputs(notebook):
    return [(cell, output) for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def shown(notebook):
    return "\n".join(text for _, output in outputs(notebook) for text in texts(dict(output)))


def check_reads_well(notebook):
    """Nothing is an error, and no cell floods the page."""
    for cell, output in outputs(notebook):
        found = "\n".join(texts(dict(output)))
        assert output.output_type != "error", cell.source
        assert output.get("name") != "stderr", (cell.source, found)
        assert found.count("\n") <= MOST_LINES, cell.source
        assert "warning" not in found.lower() or "differs from training" in found, (cell.source, found)


def test_there_are_notebooks():
    assert [path.name[0] for path in NOTEBOOKS] == [str(number + 1) for number in range(len(NOTEBOOKS))]
    assert QUICK.keys() <= {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs_are_those_of_the_code(path):
    notebook = notebooks.read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    hint = f"type: make notebooks (or python tools/notebooks.py notebooks/{path.name})"
    assert notebook.metadata.get("convoy", {}).get("executed") == notebooks.digest(notebook), hint
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), hint
    assert path.stat().st_size < MOST_BYTES
    check_reads_well(notebook)
    found = _ABSOLUTE.findall(shown(notebook))
    assert [each for each in found if not each.startswith(_NEUTRAL)] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_text_is_short_cells_that_begin_with_a_title(path):
    cells = notebooks.read(path).cells
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    assert max(len(cell.source.splitlines()) for cell in cells) <= 50
    assert any(notebooks.PARAMETERS in cell.metadata.get("tags", []) for cell in cells)
    links = [
        link for cell in cells for link in re.findall(r"`((?:docs|conf)/[\w./-]+)`|\*\*(\d-[\w-]+)\*\*", cell.source)
    ]
    for file, name in links:
        assert (ROOT / (file or f"notebooks/{name}.ipynb")).exists(), (file, name)


@pytest.mark.e2e
@pytest.mark.parametrize("name", QUICK)
def test_a_notebook_runs_from_top_to_bottom(name, tmp_path):
    notebook = notebooks.execute(notebooks.FOLDER / f"{name}.ipynb", tmp_path, QUICK[name])
    check_reads_well(notebook)
    assert {path.name for path in tmp_path.iterdir()} == {"work"}


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_runs_from_top_to_bottom(path, tmp_path):
    check_reads_well(notebooks.execute(path, tmp_path))
