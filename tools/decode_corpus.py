"""Decode every file of a folder with Convoy and with Pillow, and print how they differ.

    python tools/decode_corpus.py FOLDER [--refused] [--different]

Prints what Pillow opens and Convoy refuses, by format and reason, how many files differ in their pixels, and what a
native decoder prints to the console. Nothing of the folder is changed. Values of more than 8 bits that do not state
their range are scaled as in a dataset of that file alone.
"""

import argparse
import io
import os
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from convoy.console import Table
from convoy.images import BadImage, ValueRange, decode, extremes, range_of_dataset

SUPPORTED = {"JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "ICO", "TGA", "JPEG2000", "AVIF"}
"""Pillow's names of the formats that docs/datasets.md names as supported."""
_LARGEST = 20_000_000
_CLOSE = 2
"""Largest difference of grey levels that is due to rounding."""


@dataclass(frozen=True)
class Outcome:
    """What the two make of a file.

    Attributes:
        path: The file.
        format: Pillow's name of its format; None if Pillow does not open it.
        deep: Whether Pillow's values have more than 8 bits, and no pixels to compare with.
        refusal: Convoy's reason and detail; None if it decodes the file.
        difference: Largest difference of the pixels; None if they are not compared; -1 if the sizes differ.
        printed: What was printed to the console meanwhile.
    """

    path: Path
    format: str | None
    deep: bool
    refusal: tuple[str, str] | None
    difference: int | None
    printed: str


def compare(path: Path) -> Outcome:
    """Decode a file with both."""
    content = path.read_bytes()
    with console() as printed:
        pixels, refusal = convoy_pixels(content)
        text = printed()
    with console():
        form, mode, expected = pillow_pixels(content)
    difference = None
    if pixels is not None and expected is not None:
        same = pixels.shape == expected.shape
        difference = int(np.abs(pixels.astype(int) - expected).max(initial=0)) if same else -1
    return Outcome(path, form, mode is not None and expected is None, refusal, difference, text)


def convoy_pixels(content: bytes) -> tuple[np.ndarray | None, tuple[str, str] | None]:
    """Return Convoy's RGB pixels, or (reason, detail)."""
    rule = ValueRange()
    if (found := extremes(content)) is not None:
        rule = ValueRange("auto", **{found[0]: range_of_dataset(*found)[0]})
    try:
        return decode(content, 3, rule), None
    except BadImage as bad:
        return None, (bad.reason, bad.detail)


def pillow_pixels(content: bytes) -> tuple[str | None, str | None, np.ndarray | None]:
    """Return Pillow's (format, mode, RGB pixels: upright, on black); pixels are None for more than 8 bits."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Any = Image.open(io.BytesIO(content))
            if image.width * image.height > _LARGEST:
                return None, None, None
            form, image = image.format, (image.load(), image)[1]
            mode = image.mode
            if mode[0] in "IF":
                return form, mode, None
            image = ImageOps.exif_transpose(image)
            if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
            return form, mode, np.asarray(image.convert("RGB"))
    except Exception:  # a damaged file
        return None, None, None


@contextmanager
def console() -> Iterator[Callable[[], str]]:
    """Keep what this process prints to its standard error, native code included."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield lambda: (sys.stderr.flush(), file.seek(0), file.read().decode("utf-8", "replace"))[-1]
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def main() -> None:
    """Print the summary of a folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--refused", action="store_true", help="list the files that Pillow opens and Convoy refuses")
    parser.add_argument("--different", action="store_true", help="list the files whose pixels differ")
    options = parser.parse_args()
    outcomes = [compare(path) for path in sorted(options.folder.rglob("*")) if path.is_file()]
    opened = [outcome for outcome in outcomes if outcome.format]
    both = [outcome for outcome in opened if outcome.refusal is None]
    compared = [outcome for outcome in both if outcome.difference is not None]
    different = [outcome for outcome in compared if not 0 <= (outcome.difference or 0) <= _CLOSE]
    refused = [outcome for outcome in opened if outcome.refusal]
    print(
        Table(
            [
                ["files", f"{len(outcomes):,}"],
                ["Pillow opens", f"{len(opened):,}"],
                ["both decode", f"{len(both):,}"],
                ["of these, equal", f"{sum(outcome.difference == 0 for outcome in compared):,}"],
                [f"within {_CLOSE} grey levels", f"{len(compared) - len(different):,}"],
                ["different", f"{len(different):,}"],
                ["more than 8 bits, not compared", f"{len(both) - len(compared):,}"],
                ["refused by Convoy only", f"{len(refused):,}"],
                ["of these, of supported formats", f"{sum(o.format in SUPPORTED for o in refused):,}"],
                ["decoded by Convoy only", f"{sum(o.format is None and o.refusal is None for o in outcomes):,}"],
                ["print to the console", f"{sum(bool(outcome.printed) for outcome in outcomes):,}"],
            ]
        )
    )
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for outcome in refused:
        kind, reason = "named" if outcome.format in SUPPORTED else "other", (outcome.refusal or ("", ""))[0]
        counts[kind, reason][str(outcome.format)] += 1
    rows = [
        [kind, reason, f"{sum(formats.values()):,}", ", ".join(f"{name} {n}" for name, n in formats.most_common())]
        for (kind, reason), formats in sorted(counts.items())
    ]
    print("\nRefused by Convoy, opened by Pillow:\n" + str(Table(rows, ["format", "reason", "files", "formats"])))
    for outcome in outcomes:
        if outcome.printed:
            print(f"prints: {outcome.path}: {outcome.printed.splitlines()[0]}")
        if outcome in refused and outcome.refusal and (options.refused or outcome.format in SUPPORTED):
            print(f"refused: {outcome.format} {outcome.path}: {': '.join(outcome.refusal)}")
        if options.different and outcome in different:
            print(f"different by {outcome.difference}: {outcome.format} {outcome.path}")


if __name__ == "__main__":
    main()
