"""Find phrases that the documentation, docstrings and messages do not use; each line names what to write instead."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACES = ("src", "jobs", "docs", "notebooks", "README.md", "CONTRIBUTING.md")
INSTEAD = {
    r"mend(s|ed|ing)?": "fix",
    r"told": "reported, printed or logged",
    r"stands? still|stood still": "hangs, hung",
    r"(comes?|came) of it": "the result is",
    r"may be had": "is available",
    r"bit by bit": "bitwise",
    r"made anew": "created again",
    r"goes on with": "continues with, resumes",
}
_ALLOWED = re.compile(r'"mend": self\.fix')  # a JSON field of `convoy doctor --json`


def main() -> None:
    """Print each place; exit with status 1 if there is one."""
    listed = subprocess.run(["git", "ls-files", *PLACES], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phrases = {re.compile(rf"\b(?:{phrase})\b", re.IGNORECASE): instead for phrase, instead in INSTEAD.items()}
    found = 0
    for name in listed.splitlines():
        if not name.endswith((".py", ".md", ".ipynb")) or not (ROOT / name).is_file():
            continue
        for number, line in enumerate(lines_of((ROOT / name).read_text(encoding="utf-8"), name), 1):
            for phrase, instead in phrases.items():
                if (match := phrase.search(line)) and not _ALLOWED.search(line):
                    print(f"{name}:{number}: {match[0]!r}; write: {instead}")
                    found += 1
    sys.exit(1 if found else 0)


def lines_of(text: str, name: str) -> list[str]:
    """Lines of a file; of a notebook those of its cells, without outputs."""
    if name.endswith(".ipynb"):
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return text.splitlines()


if __name__ == "__main__":
    main()
