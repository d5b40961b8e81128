"""A terminal for tests: what a user would see on its screen."""

import io
import re
import sys

_CODES = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Terminal(io.StringIO):
    """A stream that says it is a terminal. ``screen`` obeys the codes that Rich writes, and refuses others."""

    cursor = True

    def isatty(self):
        return True

    def screen(self):
        """The lines that a user sees; the last one is that of the cursor."""
        lines, row, column = [""], 0, 0
        self.cursor = True
        for code, letter, control, text in _CODES.findall(self.getvalue()):
            if text:
                lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
                column += len(text)
            elif control == "\r":
                column = 0
            elif control == "\n":
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            elif letter == "A":
                row -= int(code or 1)
            elif (code, letter) == ("2", "K"):
                lines[row] = ""
            elif code == "?25":
                self.cursor = letter == "h"
            else:
                assert letter == "m", (code, letter)
        return [line.rstrip() for line in lines[: row + 1]]


def stderr_terminal(monkeypatch, columns=100):
    """Make stderr a terminal; for a test's body, because pytest sets stderr again after the fixtures."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    return terminal
