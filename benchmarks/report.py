"""Tables, and the place in ``docs/benchmarks.md`` where they stand."""

import json
import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HEADER = """# Benchmarks

These benchmarks compare Convoy with its peers, in one run on the same files. Compare ratios within one run; absolute
figures of different machines are not comparable. `benchmarks/README.md` describes how to repeat the measurements.
"""


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; all columns but the first are right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def circumstances(command: str, packages: Sequence[str], others: dict[str, str]) -> str:
    """One paragraph: command, machine, versions, date."""
    versions = {name: version(name) for name in packages} | others
    named = ", ".join(f"{name} {number}" for name, number in versions.items())
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"Measured {when} with `{command}` on {os.cpu_count()} cores ({cpu_model()}),"
        f" Python {platform.python_version()}; {named}."
    )


def cpu_model() -> str:
    """As Linux names it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def publish(document: Path, section: str, title: str, part: str, text: str, kept: Path) -> None:
    """Replace one part of a section of the document; the section's other parts stay.

    Args:
        document: Made if it is not there.
        section: Its text stands between ``<!-- section -->`` and ``<!-- /section -->``.
        title: The section's heading and introduction.
        part: Which part ``text`` is; parts are in the order of their names.
        text: Markdown.
        kept: JSON file that holds the parts measured so far.
    """
    parts = json.loads(kept.read_text()) if kept.exists() else {}
    parts[part] = text
    kept.write_text(json.dumps(parts, indent=1, sort_keys=True))
    begin, end = f"<!-- {section} -->", f"<!-- /{section} -->"
    body = "\n\n".join([begin, title.strip(), *(parts[name].strip() for name in sorted(parts)), end])
    content = document.read_text() if document.exists() else HEADER
    before, found, rest = content.partition(begin)
    after = rest.partition(end)[2] if found else ""
    document.write_text(before.rstrip() + "\n\n" + body + (after if after.strip() else "\n"))
