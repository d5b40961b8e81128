"""Hooks of MkDocs: make pages of the Markdown files outside docs/, and publish the files that pages link to."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
_LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from outside docs/, and the other files of the repository that are linked."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for name in sorted(set(_linked())):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace links that hold in the repository by those that hold in the site."""
    return _LINK.sub(lambda link: _in_site(_source(page.file.src_uri), link[0]) or link[0], markdown)


def _source(page: str) -> Path:
    return ROOT / next((source for source, name in PAGES.items() if name == page), f"docs/{page}")


def _in_site(source: Path, link: str) -> str | None:
    """Return the place of a linked file in the site; None if the repository has no such file."""
    target = Path(os.path.normpath(source.parent / link))
    if not target.is_file() or not target.is_relative_to(ROOT):
        return None
    name = target.relative_to(ROOT).as_posix()
    return PAGES.get(name, name.removeprefix("docs/"))


def _linked() -> Iterator[str]:
    for source in [*map(ROOT.joinpath, PAGES), *(ROOT / "docs").glob("*.md")]:
        for link in _LINK.findall(source.read_text(encoding="utf-8")):
            name = _in_site(source, link)
            if name and name not in PAGES.values() and not (ROOT / "docs" / name).is_file():
                yield name
