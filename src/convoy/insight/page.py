"""A self-contained HTML page: pictures are embedded as data, there are no scripts. All text is escaped here."""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from convoy.insight.pictures import Card, png

_DPI = 110


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
    _sections: list[tuple[str, str, list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "report").mkdir(parents=True, exist_ok=True)

    def section(self, title: str, how: str) -> None:
        """Begin a section; ``how`` explains how to read it."""
        key = re.sub(r"\W+", "-", title.lower()).strip("-")
        self._sections.append((key, title, []))
        self.text(how, "how")

    def text(self, text: str, kind: str = "") -> None:
        """Add a paragraph."""
        self._add(f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>")

    def heading(self, text: str) -> None:
        """Add a heading within the section."""
        self._add(f"<h3>{escape(text)}</h3>")

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
        shown = f'width="{width}" height="{height}"'
        kind = "picture wide" if wide else "picture"
        self._add(f'<div class="{kind}"><img src="{_data(content)}" {shown} alt="{escape(words)}"></div>')

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
        self._add(
            f'<div class="cards {("", "", "two", "three")[min(most, 3)]}">' + "".join(map(_card, cards)) + "</div>"
        )

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

        def cell(i: int, value: str, kind: str) -> str:
            if i < texts:
                return f'<{kind} class="text">{escape(value)}</{kind}>'
            if kind == "td" and i in bars and re.fullmatch(r"[01]\.\d+", value):
                return f'<td class="bar" style="--share:{100 * float(value):.1f}%">{escape(value)}</td>'
            return f"<{kind}>{escape(value)}</{kind}>"

        lines = [("th", header), *(("td", row) for row in rows)]
        body = "".join("<tr>" + "".join(cell(i, v, kind) for i, v in enumerate(row)) + "</tr>" for kind, row in lines)
        self._add(f'<div class="scroll"><table>{body}</table></div>')

    def folded(self, summary: str) -> None:
        """Fold the element that was added last, below a line that opens it."""
        added = self._sections[-1][2]
        added.append(f"<details><summary>{escape(summary)}</summary>{added.pop()}</details>")

    def write(self, footer: str) -> Path:
        """Write ``report.html``; return its path."""
        style = (files("convoy.insight") / "page.css").read_text(encoding="utf-8")
        contents = "".join(f'<li><a href="#{key}">{escape(title)}</a></li>' for key, title, _ in self._sections)
        tiles = "".join(
            f'<div class="tile"><b class="{kind}">{escape(value)}</b><span>{escape(what)}</span></div>'
            for value, what, kind in self.tiles
        )
        sections = "".join(
            f'<section id="{key}"><h2>{escape(title)}</h2>{"".join(body)}</section>'
            for key, title, body in self._sections
        )
        # The icon prevents browsers from requesting one.
        head = (
            '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<link rel="icon" href="data:,"><title>{escape(self.title)}</title><style>{style}</style>'
        )
        body = (
            f'<div class="frame"><header><h1>{escape(self.title)}</h1><p class="under">{escape(self.under)}</p>'
            f'<div class="tiles">{tiles}</div></header><nav aria-label="contents"><ol>{contents}</ol></nav>'
            f"<main>{sections}</main><footer>{escape(footer)}</footer></div>"
        )
        path = self.folder / "report.html"
        text = f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'
        path.write_text(text, encoding="utf-8", errors="replace")
        return path

    def _add(self, html: str) -> None:
        self._sections[-1][2].append(html)


def _card(card: Card) -> str:
    smooth = " smooth" if len(card.pictures) > 1 else ""
    pictures = "".join(
        f'<div><img src="{_data(png(picture))}" alt="{escape(word or card.title)}">'
        + (f'<span class="word">{escape(word)}</span>' if word else "")
        + "</div>"
        for picture, word in zip(card.pictures, card.captions, strict=True)
    )
    kind = "right" if card.right else "wrong"
    return (
        f'<figure class="card"><div class="row{smooth}">{pictures}</div><figcaption class="{kind}">'
        f'<b>{escape(card.title)}</b>{escape(card.detail)}<div class="path">{escape(card.path)}</div>'
        "</figcaption></figure>"
    )


def _data(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()
