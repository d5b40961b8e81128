"""Make a wheelhouse: what Convoy needs on Databricks runtimes that have neither Horovod nor Petastorm.

``make wheelhouse`` runs it. Horovod is built against the TensorFlow of ``constraints.txt``; all else are the wheels of
its versions. Spark and TensorFlow stay out: they are the runtime's. ``requirements.txt`` beside the wheels has for each
package what all that need it take together, so that ``resources/init/install-convoy.sh`` leaves what the runtime has
where it will do.
"""

import argparse
import os
import platform
import re
import shutil
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

import dist
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from convoy.console import say

_PINS = dist.ROOT / "constraints.txt"
_SCRIPT = dist.ROOT / "resources" / "init" / "install-convoy.sh"
_OF_THE_RUNTIME = {"pyspark", "py4j"}
_TO_BUILD = ("cmake", "packaging", "pip", "setuptools", "wheel")
_HOROVOD = {
    "HOROVOD_WITH_TENSORFLOW": "1",
    "HOROVOD_WITHOUT_PYTORCH": "1",
    "HOROVOD_WITHOUT_MXNET": "1",
    "HOROVOD_WITH_GLOO": "1",
    "HOROVOD_WITHOUT_MPI": "1",
}


def pins() -> dict[str, str]:
    """Versions of ``constraints.txt``, by name."""
    lines = re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", _PINS.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in lines}


def packages(python: str) -> list[str]:
    """Names of what goes into a wheelhouse for that Python, ``3.11``, beside Convoy itself."""
    return [name for name in dist.needed(["convoy-ml"], of(python)) if name not in {"convoy-ml", *_OF_THE_RUNTIME}]


def of(python: str) -> dict[str, str]:
    """What tells requirements which Python they are for."""
    return {"python_version": python, "python_full_version": f"{python}.0"}


def requirements(names: Iterable[str], python: str) -> list[str]:
    """Return for each package what Convoy, the others and TensorFlow ask of its version, taken together.

    What asks for one version of another is of one version too: the runtime's, if kept, would ask for another.
    """
    pinned = pins()
    asked = {name: SpecifierSet() for name in names}
    for asker in ("convoy-ml", *dist.needed([dist.tensorflow()], of(python)), *asked):
        for text in metadata.requires(asker) or []:
            requirement = Requirement(text)
            name = canonicalize_name(requirement.name)
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": "", **of(python)})
            if name in asked and applies:
                asked[name] &= requirement.specifier
                if asker in asked and any(one.operator == "==" for one in requirement.specifier):
                    asked[asker] &= SpecifierSet(f"=={pinned[asker]}")
    return [f"{name}{asked[name]}" for name in sorted(asked)]


def download(python: str, names: Iterable[str], folder: Path) -> None:
    """Get wheels of the pinned versions for that Python."""
    pinned = pins()
    asked = (f"{name}=={pinned[name]}" for name in names)
    pip("download", "--only-binary", ":all:", "--python-version", python, "--dest", folder, *asked)


def build_horovod(python: str, tensorflow: str, folder: Path, scratch: Path) -> None:
    """Build Horovod's wheel for a Python and a TensorFlow: those here, or others, in an environment made for it."""
    pinned, home = pins(), Path(sys.prefix)
    if Path(python) != Path(sys.executable) or tensorflow != tensorflow_version():
        home = scratch / "environment"
        subprocess.run([python, "-m", "venv", str(home)], check=True)
        asked = [f"{_tensorflow_name()}=={tensorflow}", *(f"{name}=={pinned[name]}" for name in _TO_BUILD)]
        pip("install", *asked, python=home / "bin" / "python", dependencies=True)
    link = scratch / "link"  # its build splits the paths of TensorFlow at spaces
    link.symlink_to(home)
    environment = {
        **os.environ,
        **_HOROVOD,
        "PATH": f"{link}/bin:{os.environ['PATH']}",
        "HOROVOD_CMAKE": f"{link}/bin/cmake",
        "MAKEFLAGS": f"-j{os.cpu_count()}",
    }
    options = ("--no-cache-dir", "--no-binary", "horovod", "--no-build-isolation", "--wheel-dir", folder)
    pip("wheel", *options, f"horovod=={pinned['horovod']}", python=link / "bin" / "python", environment=environment)


def pip(
    command: str,
    *arguments: str | Path,
    python: str | Path = sys.executable,
    environment: Mapping[str, str] | None = None,
    dependencies: bool = False,
) -> None:
    """Run pip; what it says of a failure goes to stderr."""
    options = ["--quiet", "--disable-pip-version-check", "--no-input", *([] if dependencies else ["--no-deps"])]
    done = subprocess.run(
        [str(python), "-m", "pip", command, *options, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"error: pip {command} fails: {done.stdout.strip()[-3000:]}")


def version_of(python: str) -> str:
    """The version of an interpreter, ``3.11``; exits where there is none that can be used."""
    ask = "import sys, ensurepip; print(f'{sys.version_info[0]}.{sys.version_info[1]}')"
    try:
        done = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {python} is no Python with ensurepip ({error}); give --python another")
    return done.stdout.strip()


def main() -> None:
    """Make it, and put it in its place when it is whole."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="of the runtime's version (default: this one)")
    parser.add_argument(
        "--tensorflow", default=tensorflow_version(), help="the runtime's version (default: %(default)s)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("dist/wheelhouse"), help="folder (default: dist/wheelhouse)"
    )
    arguments = parser.parse_args()
    began, output = time.monotonic(), arguments.output
    if site.ENABLE_USER_SITE:
        sys.exit("error: this Python is no virtual environment; type: make wheelhouse")
    python = version_of(arguments.python)
    output.parent.mkdir(parents=True, exist_ok=True)
    names = packages(python)
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory(dir=output.parent) as draft:
        folder = Path(draft) / "wheelhouse"
        folder.mkdir()
        say(f"wheelhouse: {len(names)} packages for Python {python}")
        download(python, (name for name in names if name != "horovod"), folder)
        say(f"wheelhouse: building Horovod with TensorFlow {arguments.tensorflow} on {os.cpu_count()} cores")
        build_horovod(arguments.python, arguments.tensorflow, folder, Path(scratch))
        wheel = dist.build_wheel(folder)
        asked = [*requirements(names, python), f"convoy-ml=={wheel.name.split('-')[1]}"]
        (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in asked))
        built = {"python": python, "tensorflow": arguments.tensorflow, "machine": platform.machine()}
        (folder / "built.txt").write_text("".join(f"{name}={value}\n" for name, value in built.items()))
        shutil.copy(_SCRIPT, folder)
        folder.chmod(0o755)
        shutil.rmtree(output, ignore_errors=True)
        folder.rename(output)
    size = sum(file.stat().st_size for file in output.iterdir())
    count = len(list(output.glob("*.whl")))
    say(f"wheelhouse: {output}: {count} wheels, {size / 2**20:,.0f} MiB  [{time.monotonic() - began:.0f} s]")
    say(f"wheelhouse: databricks fs cp -r --overwrite {output} dbfs:/Volumes/CATALOG/SCHEMA/VOLUME/wheelhouse")


def tensorflow_version() -> str:
    """Of the TensorFlow that is here."""
    return pins()[_tensorflow_name()]


def _tensorflow_name() -> str:
    return canonicalize_name(Requirement(dist.tensorflow()).name)


if __name__ == "__main__":
    main()
