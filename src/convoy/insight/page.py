"""A self-contained HTML page, rendered with Jinja2 from ``templates/report.html``, which escapes all text."""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from convoy.insight.pictures import Card, png

_DPI = 110
_COLUMNS = ("", "", "two", "three")  # CSS class of cards with so many pictures


@dataclass
class Section:
    """A section of a page.

    Attributes:
        key: Its anchor.
        title: Its title.
        elements: What it contains: the ``kind`` of each element, and the values that the template shows.
    """

    key: str
    title: str
    elements: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Page:
    """A report that is being written: sections with pictures, which are also stored as files.

    Attributes:
        folder: Folder of the page and, in ``report/``, of its pictures.
        title: Title of the page.
        under: Text below the title.
        tiles: (value, label, CSS class) of the headline.
    """

    folder: Path
    title: str
    under: str
    tiles: list[tuple[str, str, str]] = field(default_factory=list)
    _sections: list[Section] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "report").mkdir(parents=True, exist_ok=True)

    def section(self, title: str, how: str) -> None:
        """Begin a section; ``how`` explains how to read it."""
        self._sections.append(Section(re.sub(r"\W+", "-", title.lower()).strip("-"), title))
        self.text(how, "how")

    def text(self, text: str, style: str = "") -> None:
        """Add a paragraph, optionally with a CSS class."""
        self._add("paragraph", text=text, style=style)

    def heading(self, text: str) -> None:
        """Add a heading within the section."""
        self._add("heading", text=text)

    def picture(self, name: str, picture: Figure | np.ndarray, words: str, wide: bool = False) -> None:
        """Add a picture, and store it as ``report/<name>.png``.

        Args:
            name: File name without its ending.
            picture: A figure, or uint8 (H, W, 3).
            words: Alternative text of the picture.
            wide: Whether it keeps its size in narrow windows, and is scrolled.
        """
        content = self.keep(name, picture)
        width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))  # from the PNG's header
        self._add("picture", source=_data(content), width=width, height=height, words=words, wide=wide)

    def keep(self, name: str, picture: Figure | np.ndarray) -> bytes:
        """Write ``report/<name>.png`` without adding it to the page; return its content."""
        if isinstance(picture, Figure):
            file = io.BytesIO()
            picture.savefig(file, format="png", dpi=_DPI)
            content = file.getvalue()
        else:
            content = png(picture)
        (self.folder / "report" / f"{name}.png").write_bytes(content)
        return content

    def cards(self, cards: Sequence[Card]) -> None:
        """Add samples with their descriptions, in as many columns as fit."""
        most = max(len(card.pictures) for card in cards)
        self._add("cards", columns=_COLUMNS[min(most, 3)], cards=[_card(card) for card in cards])

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1, bars: Sequence[int] = ()
    ) -> None:
        """Add a table.

        Args:
            header: Names of the columns.
            rows: Text of the cells.
            texts: Number of columns, from the left, that hold text; the others hold numbers.
            bars: Columns of shares of 1 that are shown with a bar.
        """

        def cell(i: int, text: str, in_body: bool = True) -> dict[str, str]:
            bar = in_body and i >= texts and i in bars and re.fullmatch(r"[01]\.\d+", text)
            style = "text" if i < texts else "bar" if bar else ""
            return {"text": text, "style": style, "share": f"{100 * float(text):.1f}%" if bar else ""}

        names = [cell(i, text, in_body=False) for i, text in enumerate(header)]
        self._add("table", header=names, rows=[[cell(i, text) for i, text in enumerate(row)] for row in rows])

    def folded(self, summary: str) -> None:
        """Fold the element that was added last, below a line that opens it."""
        self._add("folded", summary=summary, content=self._sections[-1].elements.pop())

    def write(self, footer: str) -> Path:
        """Write ``report.html``; return its path."""
        environment = Environment(
            loader=PackageLoader("convoy.insight"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        text = environment.get_template("report.html").render(
            title=self.title, under=self.under, tiles=self.tiles, sections=self._sections, footer=footer
        )
        path = self.folder / "report.html"
        path.write_text(text, encoding="utf-8", errors="replace")
        return path

    def _add(self, kind: str, **values: Any) -> None:
        self._sections[-1].elements.append({"kind": kind, **values})


def _card(card: Card) -> dict[str, Any]:
    pictures = [(_data(png(picture)), word) for picture, word in zip(card.pictures, card.captions, strict=True)]
    return {"pictures": pictures, "title": card.title, "detail": card.detail, "path": card.path, "right": card.right}


def _data(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()
