"""What several test modules share."""

import io

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from tests.spark_support import spark  # noqa: F401  (a fixture; it starts nothing before a test asks for it)

# Busy machines are slow at times, and that is no failure; the same examples every time, anywhere.
settings.register_profile("convoy", max_examples=50, deadline=None, derandomize=True, database=None)
settings.load_profile("convoy")


def encoded(pixels, kind="PNG", **options):
    """Bytes of an image file: ``pixels`` is an array or a Pillow image."""
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(*shape, seed=0):
    """Random uint8 pixels."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and shows what one would: ``\\r`` goes back to the line's start."""

    def isatty(self):
        return True

    def screen(self):
        """The lines that a user sees."""
        lines = []
        for text in self.getvalue().split("\n"):
            line = ""
            for piece in text.split("\r"):
                line = piece + line[len(piece) :]
            lines.append(line.rstrip())
        return lines


@pytest.fixture
def clock(monkeypatch):
    """The console's clock, in the test's hands: ``clock.now += 1``."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    fake = Clock()
    monkeypatch.setattr("convoy.console.time", fake)
    return fake
