"""Lines and tables, in a terminal and elsewhere."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from convoy.console import Table, say
from tests.console.terminal import stderr_terminal

CELLS = st.text(st.characters(exclude_categories=["C", "Z", "M"]), max_size=30)


def test_lines_go_to_stderr(capsys):
    say("hello", "there")
    assert capsys.readouterr() == ("", "hello\nthere\n")


def test_plain_table_has_aligned_columns():
    text = str(Table([["accuracy", "0.98"], ["n", "1,797"]], ["what", "value"]))
    assert text.splitlines() == ["what      value", "--------  -----", "accuracy  0.98", "n         1,797"]
    assert str(Table([["a", "b"], ["ccc", "d"]])) == "a    b\nccc  d"
    assert str(Table([["a", "1"], ["b", "100"]], align="<>")) == "a    1\nb  100"
    assert str(Table([["a", "b", "c"]], widths=[3, 2])) == "a    b   c"
    assert str(Table([])) == ""


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=5), st.text("<>", max_size=3))
def test_every_row_of_a_plain_table_is_one_whole_line_whose_columns_begin_and_end_together(rows, align):
    lines = str(Table(rows, align=align)).split("\n")
    assert len(lines) == len(rows)
    widths = [max(cell_len(row[i]) for row in rows) for i in range(3)]
    for line, row in zip(lines, rows, strict=True):
        rest = line
        for cell, width, sign in zip(row, widths, align.ljust(3, "<"), strict=True):
            blanks = " " * (width - cell_len(cell))
            expected = (blanks + cell if sign == ">" else cell + blanks) + "  "
            assert rest.startswith(expected.rstrip())
            rest = rest[len(expected) :]
        assert rest == ""


def test_a_plain_table_is_not_cut_at_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    say(Table([["x" * 200, "[red]", "y" * 200]]))
    assert capsys.readouterr().err == "x" * 200 + "  [red]  " + "y" * 200 + "\n"


@pytest.mark.parametrize("columns", [30, 40, 100])
def test_a_table_in_a_terminal_fits_and_loses_nothing(monkeypatch, columns):
    terminal = stderr_terminal(monkeypatch, columns)
    rows = [["lenet5", "[red] and a few more words", "1,234 567"], ["x", ":smile:", ""]]
    say("before", Table(rows, ["name", "note", "id"], align="<<>"), "after")
    first, *drawn, last, _ = terminal.screen()
    assert (first, last) == ("before", "after")
    assert max(map(len, drawn)) <= columns
    text = " ".join(drawn).split()
    assert {"lenet5", ":smile:", *rows[0][1].split()} <= set(text)
    assert any(line.endswith("1,234 567") for line in drawn)
    assert len(drawn) == {30: 6, 40: 5, 100: 4}[columns]


@pytest.mark.parametrize("cell", ["0123456789abcdef" * 3, "word " * 3 + "0123456789abcdef" * 3])
def test_a_table_whose_words_do_not_fit_into_the_terminal_is_plain(monkeypatch, cell):
    """An id that is broken over two lines could not be copied."""
    terminal = stderr_terminal(monkeypatch, columns=40)
    table = Table([["run", cell, "1"]], ["a", "b", "c"])
    say(table)
    assert terminal.screen() == [*str(table).split("\n"), ""]


def test_plain_output_does_not_load_rich_before_it_is_needed():
    code = "import convoy.console, sys; convoy.console.say('x'); print(any(m.startswith('rich') for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
