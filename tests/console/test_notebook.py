"""Output in a notebook, in a real kernel: below the cell, without a flood."""

import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed; make dev installs it")
pytest.importorskip("nbclient", reason="nbclient is not installed; make dev installs it")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import notebooks  # noqa: E402

CELLS = [
    """
import convoy, os, sys
from convoy.console import Progress, Table, say
say("a line", Table([["a<b", "1"]], ["name", "number"], "<>"), "another line")
""",
    """
import time
with Progress("ingest", 1000) as progress:
    for done in range(0, 1000, 10):
        progress.update(done)
        time.sleep(0.01)
    progress.line("lasting")
""",
    """
from convoy.training.display import ConsoleDisplay
from convoy.training.events import Epoch
names = "loss", "accuracy", "val_loss", "val_accuracy", "images_per_second"
with ConsoleDisplay(1000, 500) as display:
    for epoch in range(500):
        display.show(Epoch(epoch, 500, 1.0, dict.fromkeys(names, 0.5)))
""",
    """
from convoy.workflows.results import ScoreResult, TrainResult
TrainResult("r", "1", "models:/<b>/1", "1", {"val_loss": 0.5}, 1.0, {0: dict.fromkeys(names, 0.5)})
""",
    """
from convoy.console.notebook import show_page
show_page("<html><p title='x'>a page</p></html>")
displayHTML = lambda page: print("Databricks shows", page)
show_page("<html></html>")
""",
    "print(os.environ['MLFLOW_LOGGING_LEVEL'], sys.executable)",
]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The outputs of each cell."""
    folder = tmp_path_factory.mktemp("kernel")
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS]), folder / "a.ipynb"
    )
    notebook = notebooks.tidied(notebooks.execute(folder / "a.ipynb", folder), str(folder))
    assert not [output for cell in notebook.cells for output in cell.outputs if output.get("name") == "stderr"]
    return [cell.outputs for cell in notebook.cells]


def test_lines_and_tables_appear_below_the_cell_in_their_order(outputs):
    before, table, after = outputs[0]
    assert (before.text, after.text) == ("a line\n", "another line\n")
    assert "<td style='text-align:left'>a&lt;b</td><td style='text-align:right'>1</td>" in table.data["text/html"]


def test_the_bar_is_redrawn_in_place_and_leaves_nothing(outputs):
    (line,) = outputs[1]
    assert line.text == "lasting\n"


def test_of_many_epochs_only_some_have_a_line(outputs):
    (lines,) = outputs[2]
    found = [line.split()[1] for line in lines.text.splitlines()]
    assert 8 <= len(found) <= 12
    assert (found[0], found[-1]) == ("1/500", "500/500")


def test_a_result_is_a_table_with_its_curves(outputs):
    (result,) = outputs[3]
    page = result.data["text/html"]
    assert "models:/&lt;b&gt;/1" in page
    assert "<img src='data:image/png;base64," in page
    assert len(page) < 60_000


def test_a_page_is_in_a_frame_and_databricks_shows_it_itself(outputs):
    frame, printed = outputs[4]
    assert 'srcdoc="&lt;html&gt;&lt;p title=&#x27;x&#x27;&gt;a page' in frame.data["text/html"]
    assert printed.text == "Databricks shows <html></html>\n"


def test_libraries_are_quiet_and_the_kernel_is_this_interpreter(outputs):
    (line,) = outputs[5]
    assert line.text == f"WARNING {sys.executable}\n"
