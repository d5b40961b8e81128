"""Check what the documentation says about the code: code blocks, commands, names of fields, and the reference pages.

A code block is fenced and names its language. ``yaml`` is a configuration and is loaded (another file has a ``title``),
``python`` compiles and imports what Convoy has, ``shell`` names targets, jobs, flags and files that exist. MkDocs
checks links and anchors.
"""

import ast
import contextlib
import dataclasses
import importlib
import importlib.util
import io
import json
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import convoy
from convoy.config import Config
from convoy.config.loading import load
from convoy.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "docs/*.md")
_FENCE = re.compile(r"^( *)(`{3,})(\w*)([^\n]*)\n(.*?)^\1\2$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:\A|\n)[^\s*-][^\n]*\n\n+((?: {4}[^\n]*\n)+)")
_COMMAND = re.compile(r"(make|convoy|python jobs/\w+\.py) [\w./ =<>-]+")
_FOLDERS = ("benchmarks/", "conf/", "constraints/", "docs/", "jobs/", "notebooks/", "resources/", "tools/")
_OWN_FILE = "conf/mine.yaml"  # the reader's own configuration
_OTHER_NAMES = {"model.export", "model.predict", "model.save", "training.py"}  # of Keras models, and a file


def main() -> None:
    """Print each problem; exit with status 1 if there is one."""
    found = 0
    for file in sorted({file for pattern in PAGES for file in ROOT.glob(pattern)}):
        for line, problem in problems(file.read_text(encoding="utf-8")):
            print(f"{file.relative_to(ROOT)}:{line}: {problem}")
            found += 1
    for problem in in_references():
        print(problem)
        found += 1
    sys.exit(1 if found else 0)


def problems(text: str) -> Iterator[tuple[int, str]]:
    """(Line, problem) of a page."""
    prose = text
    for block in _FENCE.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        prose = prose.replace(block[0], re.sub(r"[^\n]", "", block[0]), 1)
        content = re.sub(rf"^{block[1]}", "", block[5], flags=re.MULTILINE)
        for problem in _in_block(block[3], "title=" in block[4], content):
            yield line, problem
    for indented in _INDENTED.finditer(prose):
        yield prose.count("\n", 0, indented.start(1)) + 1, "indented code block; use a fence that names the language"
    for code in re.finditer(r"`([^`\n]+)`", prose):
        line = prose.count("\n", 0, code.start()) + 1
        if missing := _field_problem(code[1]):
            yield line, missing
        if _COMMAND.fullmatch(code[1]):
            for problem in _in_command(code[1].split()):
                yield line, problem


def _in_block(language: str, titled: bool, content: str) -> Iterator[str]:
    match language:
        case "yaml":
            yield from [] if titled else _in_configuration(content)
        case "python":
            yield from _in_python(content)
        case "shell":
            for line in re.sub(r"\\\n", " ", content).splitlines():
                for words in _commands(line):
                    yield from _in_command(words)
        case "json":
            try:
                json.loads(content)
            except ValueError as error:
                yield f"not JSON: {error}"
        case "sql" | "text":
            pass
        case _:
            yield f"code block in {language or 'no language'}; expected yaml, python, shell, json, sql or text"


def _in_configuration(content: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "block.yaml")
        file.write_text(content, encoding="utf-8")
        try:
            load(file)
        except ConfigError as error:
            yield str(error)


def _in_python(content: str) -> Iterator[str]:
    try:
        tree = ast.parse(content)
    except SyntaxError as error:
        yield f"does not compile: {error}"
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                wanted = [(alias.name, "") for alias in node.names]
            case ast.ImportFrom(module=str(module)):
                wanted = [(module, alias.name) for alias in node.names]
            case ast.Attribute(value=ast.Name(id="convoy")):
                wanted = [("convoy", node.attr)]
            case _:
                continue
        for module, name in wanted:
            if module.partition(".")[0] == "convoy" and not _exists(module, name):
                yield f"{module} has no {name or 'such module'}"


def _exists(module: str, name: str) -> bool:
    """Whether a module is there and defines or imports a name, without importing anything slow."""
    file = _file(module)
    if file is None:
        return False
    defined = rf"^(def|class) {name}\b|^{name}\b.*=|^from .* import .*\b{name}\b"
    return (
        not name
        or (module == "convoy" and name in convoy.__all__)
        or _file(f"{module}.{name}") is not None
        or re.search(defined, _text(file), re.MULTILINE) is not None
    )


def _file(module: str) -> str | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # of what it would be in
        return None
    return None if spec is None else spec.origin


def _text(file: str) -> str:
    return Path(file).read_text(encoding="utf-8")


def _commands(line: str) -> Iterator[list[str]]:
    """Words of each command of a line, without variables that are set for it."""
    words = shlex.split(line, comments=True)
    while words and re.match(r"[A-Z_]+=", words[0]):
        del words[0]
    current: list[str] = []
    for word in [*words, ";"]:
        if word in (";", "|", "&&", ">"):
            if current:
                yield current
            current = []
        else:
            current.append(word)


def _in_command(words: list[str]) -> Iterator[str]:
    for word in words:
        file = word.removeprefix("./")
        named = file.startswith(_FOLDERS) and not set("*<") & set(file) and file != _OWN_FILE
        if named and not (ROOT / file).exists():
            yield f"{file} does not exist"
    program = words[0].rpartition("/")[2]
    if program == "make":
        yield from (f"make has no target {word}" for word in words[1:] if "=" not in word and word not in _targets())
        return
    if program.startswith("--"):
        job, rest = "ingest", words  # options of a source
    elif program == "convoy":
        job, rest = "".join(words[1:2]).replace("-", "_"), words[2:]
    else:
        at = next((i for i, word in enumerate(words) if re.fullmatch(r"jobs/\w+\.py", word)), None)
        if at is None:
            return
        job, rest = Path(words[at]).stem, words[at + 1 :]
    if not (ROOT / f"jobs/{job}.py").is_file():
        yield f"there is no job {job}"
        return
    for flag in (word.partition("=")[0] for word in rest if word.startswith("--")):
        if flag not in _flags(job):
            yield f"job {job} has no argument {flag}"


@cache
def _targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z0-9-]*):", _text(str(ROOT / "Makefile")), re.MULTILINE))


@cache
def _flags(job: str) -> set[str]:
    """Arguments of a job and of its commands: those of ``--help``, and those that its file takes out before."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    module = importlib.import_module(f"jobs.{job}")
    texts = [_text(str(ROOT / f"jobs/{job}.py"))]
    for command in [[], *([name] for name in getattr(module, "COMMANDS", {}))]:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
            module.main([*command, "--help"])
        texts.append(out.getvalue())
    short = {"--resume", "--from", "--until"}
    return short | set(re.findall(r"(?<![\w-])--[a-z][\w.]*", "\n".join(texts)))


def _field_problem(code: str) -> str | None:
    """Return a problem if a name looks like a field and is neither one, nor a tag, nor a property of Spark."""
    section = code.partition(".")[0]
    if not re.fullmatch(r"[a-z_]+(\.[a-z0-9_]+)+", code) or section not in _fields() or code in _fields():
        return None
    if section == "spark" or code in _OTHER_NAMES or f'"{code}"' in _source():
        return None
    return f"the configuration has no field {code}"


@cache
def _source() -> str:
    return "".join(_text(str(file)) for file in sorted((ROOT / "src").rglob("*.py")))


@cache
def _fields() -> dict[str, type]:
    """Name of each section and field, e.g. ``training.optimizer`` -> its type."""
    found: dict[str, type] = {}

    def add(kind: type, prefix: str) -> None:
        for field in dataclasses.fields(kind):
            inner: Any = field.default_factory
            found[prefix + field.name] = type(None)
            if isinstance(inner, type) and dataclasses.is_dataclass(inner):
                found[prefix + field.name] = inner
                add(inner, f"{prefix}{field.name}.")

    add(Config, "")
    return found


def in_references() -> Iterator[str]:
    """Problems of the reference pages: each section and each public function has an entry, and no text is lost."""
    sections = {f"{kind.__module__}.{kind.__qualname__}" for kind in _fields().values() if kind is not type(None)}
    functions = {f"{module}.{name}" for name, module in convoy._HOMES.items()}
    for page, expected in (("docs/configuration.md", sections), ("docs/api.md", functions)):
        entries = set(re.findall(r"^::: (\S+)$", _text(str(ROOT / page)), re.MULTILINE))
        yield from (f"{page}: lacks an entry '::: {name}'" for name in sorted(expected - entries))
        for module in sorted({name.rpartition(".")[0] for name in expected}):
            for node in ast.walk(ast.parse(_text(str(_file(module))))):
                if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):  # docstrings, also of fields
                    plain = re.sub(r"(`+).*?\1", "", str(node.value.value), flags=re.DOTALL)
                    for tag in re.findall(r"<[a-z]\w*[^>]*>", plain):
                        yield f"{module}:{node.lineno}: {tag} would be read as HTML; put it into backticks"


if __name__ == "__main__":
    main()
