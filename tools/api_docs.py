"""Write docs/api.md from the docstrings of Convoy's public functions; ``--check`` compares it with the file."""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import docstring_parser

import convoy
from convoy.workflows import results

FILE = Path(__file__).resolve().parent.parent / "docs" / "api.md"
GROUPS = {
    "Configuration": ("load",),
    "Workflows": ("pipeline", "ingest", "train", "evaluate", "score"),
    "Compare and search": ("experiment", "tune"),
    "Registry": ("promote", "rollback"),
    "Runs": ("reproduce",),
    "Scoring in a DataFrame": ("score_images", "register_udf"),
    "Petastorm": ("petastorm",),
}
_HEAD = """# Python API

Everything on this page is an attribute of the package `convoy`; it is imported when it is first used. A function that
takes `spark` uses that session, else the active one, else it starts one and stops it at the end. Errors that you can
fix are subclasses of `convoy.errors.ConvoyError`; the message says how.

    import convoy

    config = convoy.load("conf/digits.yaml", {"training.epochs": 3})
    convoy.ingest(config)
    result = convoy.train(config)
    print(result.metrics["val_accuracy"], result.model_uri)
    result.history                      # a pandas DataFrame: one row per epoch
    convoy.evaluate(config)
    convoy.score(config)

This page is generated from the docstrings: `make docs` updates it.
"""


def main() -> None:
    """Write the page, or check it."""
    text = page()
    if "--check" not in sys.argv[1:]:
        FILE.write_text(text, encoding="utf-8")
    elif FILE.read_text(encoding="utf-8") != text:
        sys.exit("error: docs/api.md differs from the docstrings; type: make docs")


def page() -> str:
    """Return the page."""
    listed = [name for names in GROUPS.values() for name in names]
    missing = sorted(set(convoy.__all__) - {*listed, "__version__"})
    assert not missing, f"tools/api_docs.py does not list {missing}"
    parts = [_HEAD]
    for title, names in GROUPS.items():
        parts.append(f"## {title}\n")
        parts += [_function(name, getattr(convoy, name)) for name in names]
    parts.append("## Results\n")
    parts += [_result(kind) for kind in vars(results).values() if _is_result(kind)]
    return "\n".join(parts).rstrip() + "\n"


def _is_result(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, results.Result) and kind is not results.Result


def _function(name: str, function: Any) -> str:
    shown = re.sub(r"\b(?:[a-z_]\w*\.)+([A-Z]\w*)", r"\1", str(inspect.signature(function)))
    shown = re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", shown).replace("NoneType", "None")
    return f"### `convoy.{name}`\n\n    {name}{shown}\n\n{_text(function)}"


def _result(kind: type) -> str:
    return f"### `{kind.__name__}`\n\n{_text(kind)}"


def _text(documented: Any) -> str:
    found = docstring_parser.parse(inspect.getdoc(documented) or "", docstring_parser.DocstringStyle.GOOGLE)
    parts = [_markdown(found.short_description)]
    parts += [_markdown(found.long_description)] if found.long_description else []
    rows = [f"* `{each.arg_name}`: {_markdown(each.description)}" for each in found.params]
    parts += ["\n".join(rows)] if rows else []
    parts += [f"Returns: {_markdown(found.returns.description)}"] if found.returns else []
    raised = [f"* `{each.type_name}`: {_markdown(each.description)}" for each in found.raises]
    parts += ["Raises:\n\n" + "\n".join(raised)] if raised else []
    return "\n\n".join(parts) + "\n"


def _markdown(text: str | None) -> str:
    return "\n".join(line.strip() for line in (text or "").replace("``", "`").splitlines()).strip()


if __name__ == "__main__":
    main()
