"""Build the sdist and the wheel of the last commit, check them, and run a pipeline from each in a new environment.

``make release`` runs it, with the Python of ``.venv-release``. The packages that Convoy needs come from
``constraints.txt``, with their hashes. Nothing is uploaded.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Embedded images, one epoch on two ranks, everything in the current folder: no file but the package is needed.
_PIPELINE = {
    "source.kind": "digits",
    "dataset.name": "digits",
    "dataset.root": "datasets",
    "dataset.image.height": "32",
    "dataset.image.width": "32",
    "dataset.image.channels": "1",
    "model.name": "lenet5",
    "training.epochs": "1",
    "tracking.uri": "sqlite:///mlflow.db",
    "tracking.registered_model": "digits",
    "scoring.input": "dataset:test",
    "scoring.output": "scores",
    "spark.master": "local[2]",
}


def main() -> None:
    """Build, check and try both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "release", help="folder (default: dist/release)")
    folder = parser.parse_args().output.resolve()
    if _lines("git", "status", "--porcelain", "--untracked-files=no"):
        sys.exit("error: there are uncommitted changes, and a release is built from the last commit; commit them first")
    version = _version((ROOT / "src/convoy/__init__.py").read_text(encoding="utf-8"))
    if dated_version((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")) != version:
        sys.exit(f"error: the newest version of CHANGELOG.md is not {version}, that of src/convoy/__init__.py")

    shutil.rmtree(folder, ignore_errors=True)
    sdist, wheel = build(folder)
    _run(sys.executable, "-m", "twine", "check", "--strict", str(sdist), str(wheel))
    tracked = _lines("git", "ls-files")
    problems = [*missing_in_sdist(tracked, names_in(sdist)), *differences_of_wheel(tracked, names_in(wheel))]
    if problems:
        sys.exit("\n".join(f"error: {problem}" for problem in problems))
    for package in (wheel, sdist):
        try_out(package, version)
    print(f"release: {sdist} and {wheel} work")


def _version(module: str) -> str:
    return re.search(r'^__version__ = "(.+?)"', module, re.MULTILINE)[1]  # type: ignore[index]


def dated_version(changelog: str) -> str | None:
    """Return the newest version that a changelog dates; None without one."""
    found = re.search(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)
    return found[1] if found else None


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist from the last commit, and the wheel from the sdist; returns their paths."""
    with tempfile.TemporaryDirectory() as scratch:
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", scratch], input=archive, check=True)
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), scratch]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit(f"{done.stdout}\nerror: the package cannot be built")
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def names_in(package: Path) -> set[str]:
    """Names of the files in a wheel, or in an sdist below its folder; a link counts as what it is, not as a file."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as content:
            return set(content.namelist())
    with tarfile.open(package) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile() or member.issym()}


def missing_in_sdist(tracked: Iterable[str], names: set[str]) -> list[str]:
    """Files of the repository that the sdist lacks, as messages."""
    return [f"the sdist lacks {name}; add it to MANIFEST.in" for name in sorted(set(tracked) - names)]


def differences_of_wheel(tracked: Iterable[str], names: set[str]) -> list[str]:
    """Files of the package that the wheel lacks, and files that do not belong in it, as messages."""
    expected = set()
    for name in tracked:
        if name.startswith("src/convoy/"):
            expected.add(name.removeprefix("src/"))
        elif name.startswith("jobs/"):
            expected.add(f"convoy/{name}")
    inside = {name for name in names if ".dist-info/" not in name}
    return [
        *(f"the wheel lacks {name}; add it to package_data in setup.py" for name in sorted(expected - inside)),
        *(f"the wheel has {name}, which is not of the package" for name in sorted(inside - expected)),
    ]


def try_out(package: Path, version: str) -> None:
    """Install a wheel or an sdist into a new environment, and run a pipeline from a folder that is not the checkout."""
    name = f".venv-release-{'wheel' if package.suffix == '.whl' else 'sdist'}"
    venv = ROOT / name
    shutil.rmtree(venv, ignore_errors=True)
    print(f"release: installing {package.name}", flush=True)
    _run("tools/setup.sh", "--package", str(package), name, "constraints.txt")
    with tempfile.TemporaryDirectory() as scratch:
        convoy = str(venv / "bin" / "convoy")
        code = "import convoy, convoy.jobs; print(convoy.__version__, convoy.__file__, convoy.jobs.__file__)"
        found, *files = _lines(str(venv / "bin" / "python"), "-c", code, cwd=scratch)[0].split()
        outside = [file for file in files if not Path(file).is_relative_to(venv)]
        if found != version or outside:
            sys.exit(f"error: {package.name} installs {found} as {', '.join(files)}; expected {version} in {venv}")
        _lines(convoy, "--help", cwd=scratch)
        fields = [part for field, value in _PIPELINE.items() for part in (f"--{field}", value)]
        stages = [json.loads(line) for line in _lines(convoy, "pipeline", *fields, cwd=scratch)]
        if [stage["job"] for stage in stages] != ["ingest", "train", "evaluate", "score"]:
            sys.exit(f"error: the pipeline of {package.name} printed {stages}; expected four stages")
        print(f"release: {package.name} scored {stages[-1]['rows']} images", flush=True)
    shutil.rmtree(venv)
    (ROOT / f"{name}-setup.log").unlink(missing_ok=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} failed with exit status {done.returncode}")


def _lines(*command: str, cwd: str | Path = ROOT) -> list[str]:
    """Run a command without variables that lead to the checkout; returns the lines of its stdout."""
    done = subprocess.run(["env", "-u", "PYTHONPATH", *command], cwd=cwd, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} failed with exit status {done.returncode}")
    return done.stdout.splitlines()


if __name__ == "__main__":
    main()
