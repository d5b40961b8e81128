"""What the user reads, in a terminal and elsewhere."""

import fcntl
import io
import os
import struct
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.console import Progress, say, table
from convoy.console import clock as duration
from tests.conftest import Terminal


def test_lines_go_to_stderr(capsys):
    say("hello")
    assert capsys.readouterr() == ("", "hello\n")


def test_terminal_shows_one_line_that_is_rewritten_and_then_erased(clock):
    terminal = Terminal()
    progress = Progress("ingest", 200, stream=terminal)
    for done, detail in ((50, "a longer detail than the next"), (100, "short")):
        clock.now += 5
        progress.update(done, detail)
        (line,) = terminal.screen()
        assert f"ingest {done}/200 images" in line
        assert line.count("images/s") == 1
    assert "longer" not in line
    assert "10 images/s" in line
    assert "0:10 left" in line
    progress.close()
    assert terminal.screen() == [""]


def test_lasting_lines_stay_above_the_live_one(clock):
    terminal = Terminal()
    progress = Progress("train", 10, stream=terminal)
    for done in (1, 2):
        clock.now += 1
        progress.update(done)
        progress.line(f"epoch {done}")
    clock.now += 1
    progress.update(3)
    assert terminal.screen()[:2] == ["epoch 1", "epoch 2"]
    assert terminal.screen()[2].startswith("train 3/10")


def test_elsewhere_there_are_plain_whole_lines_but_seldom(clock):
    stream = io.StringIO()
    progress = Progress("score", 6000, stream=stream)
    for done in range(0, 6000, 10):
        clock.now += 0.1
        progress.update(done)
    progress.line("done")
    progress.close()
    lines = stream.getvalue().split("\n")
    assert "\r" not in stream.getvalue()
    assert lines[-2:] == ["done", ""]
    assert 2 <= len(lines[:-2]) <= 7  # in a minute
    assert all(line.startswith("score ") for line in lines[:-2])


def test_terminal_is_not_rewritten_at_every_step(clock):
    terminal = Terminal()
    progress = Progress("score", 10_000, stream=terminal)
    for done in range(10_000):
        clock.now += 0.001
        progress.update(done)
    assert 10 <= terminal.getvalue().count("\r") <= 100  # in ten seconds


def test_no_rate_is_claimed_before_there_is_one(clock):
    terminal = Terminal()
    progress = Progress("train", 1000, stream=terminal)
    clock.now += 1
    progress.update(0)
    assert terminal.screen()[-1] == "train 0/1,000 images"


@pytest.mark.parametrize("columns", [40, 80])
def test_live_line_never_wraps(clock, monkeypatch, columns):
    """A wrapped line cannot be rewritten: it would flood the terminal."""
    monkeypatch.setenv("COLUMNS", str(columns))
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(theirs, "w") as stream:
        progress = Progress("train", 600_000, stream=stream)
        for done in (12_345, 234_567):
            clock.now += 1
            progress.update(done, "epoch 12/100  step 1234/4690  loss 0.1234")
        written = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "12,345/600,000" in written
    assert max(len(piece) for piece in written.split("\r")) < columns


@given(st.floats(0, 1e7))
def test_durations_are_read_back(seconds):
    *hours, minutes, rest = map(int, duration(seconds).split(":"))
    assert abs((sum(hours) * 60 + minutes) * 60 + rest - seconds) <= 0.5
    assert minutes < 60
    assert rest < 60


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599.7, "1:00:00"), (-5, "0:00")])
def test_durations_round_to_seconds(seconds, text):
    assert duration(seconds) == text


def test_table_has_aligned_columns():
    text = table([["accuracy", "0.98"], ["n", "1,797"]], header=["what", "value"])
    assert text.splitlines() == ["what      value", "--------  -----", "accuracy  0.98", "n         1,797"]
    assert table([["a", "b"], ["ccc", "d"]]) == "a    b\nccc  d"
