"""Progress as a user sees it, in a terminal and elsewhere."""

import fcntl
import io
import os
import struct
import sys
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.console import Progress, Table, say
from convoy.console import clock as duration
from tests.console.terminal import Terminal, stderr_terminal


def test_terminal_shows_one_bar_that_is_redrawn_and_then_erased(clock, monkeypatch):
    terminal = stderr_terminal(monkeypatch)
    with Progress("ingest", 200) as progress:
        for done, detail in ((50, "a longer detail than the next"), (100, "short")):
            clock.now += 5
            progress.update(done, detail)
            line = terminal.screen()[-1]
            assert line.startswith("━")
            assert f" ingest {done}/200 images" in line
            assert line.count("images/s") == 1
        assert "longer" not in line
        assert "10 images/s" in line
        assert "0:10 left" in line
        assert terminal.cursor  # a process that is killed leaves the terminal as it was
    assert terminal.screen() == [""]
    assert sys.stderr is terminal


def test_bar_appears_at_once(clock, monkeypatch):
    terminal = stderr_terminal(monkeypatch)
    with Progress("train", 10) as progress:
        progress.note("starting the ranks")
        assert terminal.screen()[-1].endswith("train starting the ranks")


def test_lasting_lines_stay_above_the_bar_whoever_prints_them(clock, monkeypatch):
    terminal = stderr_terminal(monkeypatch)
    with Progress("train", 10) as progress:
        clock.now += 1
        progress.update(1)
        progress.line("epoch 1 [red]")
        say("said " * 30)
        print("warned by a library", file=sys.stderr)
        progress.line(Table([["a", "b"]], ["x", "y"]))
        clock.now += 1
        progress.update(2)
        *above, bar = terminal.screen()
        assert above[0] == "epoch 1 [red]"
        assert above[1] == ("said " * 30).strip()  # only the terminal itself wraps it
        assert "warned by a library" in above
        assert bar.startswith("━")
    assert terminal.screen() == [*above, ""]


def test_nothing_is_shown_after_the_end(clock, monkeypatch):
    terminal = stderr_terminal(monkeypatch)
    progress = Progress("score", 10)
    clock.now += 1
    progress.update(1)
    progress.close()
    clock.now += 1
    progress.update(2)  # of a thread that is late
    assert terminal.screen() == [""]


def test_a_second_activity_prints_its_lines_above_the_bar_of_the_first(clock, monkeypatch):
    terminal = stderr_terminal(monkeypatch)
    with Progress("tune", None) as outer, Progress("train", 10) as inner:
        clock.now += 1
        outer.note("2 trials")
        inner.update(5)
        inner.line("warning: slow")
        assert terminal.screen()[:-1] == ["warning: slow"]
        assert terminal.screen()[-1].endswith(" tune 2 trials")
    with Progress("ingest", 10) as later:
        clock.now += 1
        later.update(5)
        assert " ingest 5/10" in terminal.screen()[-1]


@pytest.mark.parametrize("text", ["[3] epoch 1/2  [bold]x[/bold]", ":smile: {text}"])
def test_texts_are_shown_as_they_are(clock, monkeypatch, text):
    terminal = stderr_terminal(monkeypatch)
    with Progress("tune", 4) as progress:
        clock.now += 1
        progress.note(text, 1)
        assert text in terminal.screen()[-1]


def plain_lines(stream, clock):
    progress = Progress("score", 6000, stream=stream)
    for done in range(0, 6000, 10):
        clock.now += 0.1
        progress.update(done)
    progress.line("done")
    progress.close()
    return stream.getvalue()


def test_elsewhere_there_are_plain_whole_lines_but_seldom(clock):
    text = plain_lines(io.StringIO(), clock)
    lines = text.split("\n")
    assert not {"\r", "\x1b"} & set(text)
    assert lines[-2:] == ["done", ""]
    assert 2 <= len(lines[:-2]) <= 7  # in a minute
    assert all(line.startswith("score ") for line in lines[:-2])


@pytest.mark.parametrize(
    "environment",
    [{"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}, {"DATABRICKS_RUNTIME_VERSION": "17.3"}, {"JUPYTER_COLUMNS": "40"}],
)
def test_no_environment_makes_a_log_look_like_a_terminal(clock, monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert "\x1b" not in plain_lines(io.StringIO(), clock)


def test_a_terminal_that_cannot_redraw_gets_plain_lines(clock, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert not {"\r", "\x1b"} & set(plain_lines(Terminal(), clock))


def test_bar_is_not_redrawn_at_every_step(clock, monkeypatch):
    terminal = stderr_terminal(monkeypatch)
    with Progress("score", 10_000) as progress:
        for done in range(10_000):
            clock.now += 0.001
            progress.update(done)
    assert 10 <= terminal.getvalue().count("score") <= 100  # in ten seconds


def test_no_rate_is_claimed_before_there_is_one(clock, monkeypatch):
    terminal = stderr_terminal(monkeypatch)
    with Progress("train", 1000) as progress:
        clock.now += 1
        progress.update(0)
        assert "0/1,000 images" in terminal.screen()[-1]
        assert "images/s" not in terminal.screen()[-1]


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_bar_never_wraps(clock, monkeypatch, columns):
    """A wrapped line cannot be redrawn: it would flood the terminal."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    screen = Terminal()
    with os.fdopen(theirs, "w") as stream, Progress("train", 600_000, stream=stream) as progress:
        for done in (12_345, 234_567):
            clock.now += 1
            progress.update(done, "epoch 12/100  step 1234/4690  loss 0.1234")
            screen.write(os.read(ours, 10_000).decode())
            (line,) = screen.screen()
            assert len(line) <= columns
            assert "train" in line
    os.close(ours)


@given(st.floats(0, 1e7))
def test_durations_are_read_back(seconds):
    *hours, minutes, rest = map(int, duration(seconds).split(":"))
    assert abs((sum(hours) * 60 + minutes) * 60 + rest - seconds) <= 0.5
    assert minutes < 60
    assert rest < 60


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599.7, "1:00:00"), (-5, "0:00")])
def test_durations_round_to_seconds(seconds, text):
    assert duration(seconds) == text
