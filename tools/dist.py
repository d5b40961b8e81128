"""Make what a cluster needs: the wheel, and an archive of the whole environment for ``spark-submit --archives``.

``make dist`` runs it. The archive has a Python of its own, Convoy and what Convoy needs to run, and nothing else: no
tools for development, caches, headers, jars (the cluster has Spark), nor any link out of it. It is unpacked elsewhere
and tried before it gets its name.
"""

import argparse
import os
import platform
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from convoy.console import say

ROOT = Path(__file__).resolve().parent.parent
_SOURCES = ("LICENSE", "README.md", "constraints.txt", "jobs", "pyproject.toml", "setup.py", "src")
_UNUSED = {"libclang"}  # TensorFlow asks for it and never imports it
_STDLIB_UNUSED = {"ensurepip", "idlelib", "lib2to3", "site-packages", "dist-packages", "test", "tkinter", "turtledemo"}
_PACKAGES_UNUSED = re.compile(
    r"(^|/)__pycache__/|\.pyc$|\.\./|^tensorflow/include/|^pyspark/(bin|data|examples|jars|licenses|sbin)/"
    r"|^mlflow/server/js/|^(matplotlib|numpy|pandas|pyarrow|scipy|sklearn)/(.+/)?tests/"
)
_TRY = """
import importlib, sys
for name in ("convoy.jobs.train", "convoy.jobs.score", "convoy.doctor.gather", "horovod.tensorflow", "horovod.spark",
             "petastorm", "mlflow", "cv2", "simplejpeg", "ssl", "sqlite3", "ctypes", "lzma", "bz2"):
    importlib.import_module(name)
home = sys.argv[1]
files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
away = sorted({file for file in files if file and not file.startswith(home)})
with open("/proc/self/maps") as maps:
    away += sorted({line.split()[-1] for line in maps if "libpython" in line and home not in line})
if away or not sys.executable.startswith(home):
    sys.exit("these come from elsewhere: " + ", ".join(away[:5] or [sys.executable]))
"""


def build_wheel(folder: Path) -> Path:
    """Build Convoy's wheel into a folder, from a copy of its sources: what an earlier build has left is not taken."""
    with tempfile.TemporaryDirectory() as scratch:
        for name in _SOURCES:
            source, copy = ROOT / name, Path(scratch) / name
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            else:
                shutil.copy(source, copy)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        subprocess.run([*command, "--wheel-dir", str(folder), scratch], check=True, stdout=sys.stderr)
    return max(folder.glob("convoy_ml-*.whl"), key=lambda path: path.stat().st_mtime_ns)


def needed(roots: Iterable[str], environment: Mapping[str, str] | None = None) -> list[str]:
    """Names of the installed distributions that these requirements ask for, directly or not.

    Args:
        roots: The requirements.
        environment: Values of markers, e.g. ``python_version``, that are not those of this Python.
    """
    found: dict[str, set[str]] = {}
    todo = [Requirement(root) for root in roots]
    while todo:
        requirement = todo.pop()
        name, extras = canonicalize_name(requirement.name), requirement.extras
        if name in _UNUSED or (name in found and extras <= found[name]):
            continue
        try:
            asked = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            sys.exit(f"error: {requirement.name} is needed and not installed; type: make setup")
        found[name] = found.get(name, set()) | extras
        for text in asked:
            further = Requirement(text)
            wanted = [{**(environment or {}), "extra": extra} for extra in ("", *extras)]
            if further.marker is None or any(further.marker.evaluate(context) for context in wanted):
                todo.append(further)
    return sorted(found)


def tensorflow() -> str:
    """The TensorFlow that is installed, which Convoy does not require by name; for GPUs with CUDA's packages."""
    if any(metadata.distributions(name="tensorflow-cpu")):
        return "tensorflow-cpu"
    return "tensorflow[and-cuda]" if any(metadata.distributions(name="nvidia-cuda-runtime-cu12")) else "tensorflow"


def package_files(names: Iterable[str]) -> Iterator[tuple[Path, str]]:
    """(File, its name below site-packages) of what of these distributions is used when Convoy runs."""
    for name in names:
        distribution = metadata.distribution(name)
        for file in distribution.files or []:
            if not _PACKAGES_UNUSED.search(text := PurePosixPath(file).as_posix()):
                yield Path(str(distribution.locate_file(file))), text


def stdlib_files(stdlib: Path) -> Iterator[tuple[Path, str]]:
    """(File, its name below lib/python3.11) of Python's own library."""
    for folder, folders, files in os.walk(stdlib):
        below = Path(folder).relative_to(stdlib)
        folders[:] = [
            name
            for name in folders
            if name != "__pycache__"
            and not (below == Path() and (name in _STDLIB_UNUSED or name.startswith("config-")))
        ]
        yield from ((Path(folder) / name, (below / name).as_posix()) for name in files)


def relocated(binary: bytes, libraries: str) -> bytes:
    """Let an executable that looks for its libraries in that folder look in ``lib`` beside its own folder instead.

    Its RUNPATH is a text in the file, which is replaced in place: https://man7.org/linux/man-pages/man8/ld.so.8.html.
    """
    old, new = b"\0" + libraries.encode() + b"\0", b"$ORIGIN/../lib"
    if new in binary:
        return binary
    if old not in binary or len(new) > len(old) - 2:
        sys.exit(
            f"error: this Python finds its shared library in {libraries} alone and cannot be moved; make .venv with one"
            " that is built without --enable-shared"
        )
    return binary.replace(old, b"\0" + new.ljust(len(old) - 2, b"\0") + b"\0")


class Archive:
    """A .tar.gz whose content depends on the files alone: no owners, the same times."""

    def __init__(self, path: Path, level: int) -> None:
        self._tar = tarfile.open(path, "w:gz", compresslevel=level)  # noqa: SIM115
        self._named: set[str] = set()
        self.size = 0

    def add(self, source: Path | bytes, name: str, *, executable: bool = False) -> None:
        """Add a file, with what a link leads to; a name that is there already is left as it is."""
        if name in self._named:
            return
        self._named.add(name)
        info = tarfile.TarInfo(name)
        path = source if isinstance(source, Path) else None
        info.mode = 0o755 if executable or (path is not None and os.access(path, os.X_OK)) else 0o644
        with tempfile.SpooledTemporaryFile() if path is None else open(path, "rb") as file:
            if isinstance(source, bytes):
                file.write(source)
                file.seek(0)
            info.size = len(source) if isinstance(source, bytes) else os.fstat(file.fileno()).st_size
            self.size += info.size
            self._tar.addfile(info, file)

    def close(self) -> None:
        """Finish the file."""
        self._tar.close()


def pack(path: Path, wheel: Path | None, packages: Sequence[str], level: int) -> int:
    """Write the archive; returns the size of its content in bytes."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    libraries = sysconfig.get_config_var("LIBDIR")
    archive = Archive(path, level)
    binary = Path(os.path.realpath(sys.executable)).read_bytes()
    shared = Path(libraries) / str(sysconfig.get_config_var("INSTSONAME"))
    if ".so" in shared.name and shared.name.encode() in binary:
        archive.add(shared, f"lib/{shared.name}")
        binary = relocated(binary, libraries)
    archive.add(binary, "bin/python", executable=True)
    archive.add(b'#!/bin/sh\nexec "$(dirname "$0")/python" -m convoy "$@"\n', "bin/convoy", executable=True)
    for file, name in stdlib_files(Path(sysconfig.get_path("stdlib"))):
        archive.add(file, f"lib/{version}/{name}")
    home = packages_folder()
    if wheel is not None:
        with zipfile.ZipFile(wheel) as content:
            for name in sorted(content.namelist()):
                archive.add(content.read(name), f"{home}/{name}")
    for file, name in package_files(packages):
        archive.add(file, f"{home}/{name}")
    archive.close()
    return archive.size


def packages_folder() -> str:
    """Where a Python of this kind looks for packages, below its own folder: Debian's has another name for it."""
    base = str(getattr(sys, "_base_executable", sys.executable))
    ask = "import site; print(site.getsitepackages(['.'])[-1])"
    done = subprocess.run([base, "-I", "-c", ask], check=True, capture_output=True, text=True)
    return PurePosixPath(done.stdout.strip()).as_posix()


def try_out(path: Path, command: str = _TRY) -> None:
    """Unpack an archive elsewhere, and import what the jobs do, with nothing of this environment around."""
    with tempfile.TemporaryDirectory() as scratch:
        home = os.path.realpath(scratch)
        subprocess.run(["tar", "-xzf", str(path), "-C", home], check=True)  # as Spark does
        done = subprocess.run(
            [f"{home}/bin/python", "-c", command, home],
            cwd=home,
            env={"PATH": "/usr/bin:/bin", "HOME": home, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            timeout=300,
        )
    if done.returncode:
        sys.exit(f"error: the archive does not work: {done.stderr.strip()[-2000:]}")


def system_libraries() -> list[str]:
    """Shared libraries that Python itself needs of the machine that it runs on, beside the C library."""
    files = [
        os.path.realpath(sys.executable),
        *map(str, Path(sysconfig.get_path("stdlib"), "lib-dynload").glob("*.so")),
    ]
    unused = ("_tkinter", "readline", "_curses", "nis", "_dbm", "_gdbm")
    done = subprocess.run(
        ["ldd", *(file for file in files if not Path(file).name.startswith(unused))], capture_output=True, text=True
    )
    names = set(re.findall(r"^\s+(lib\S+) =>", done.stdout, re.MULTILINE))
    return sorted(name for name in names if not re.match(r"lib(c|m|dl|pthread|rt|util|python3\.\d+)\.so", name))


def main() -> None:
    """Make both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("dist"), help="folder (default: dist)")
    parser.add_argument("--level", type=int, default=6, help="of gzip, 1 to 9 (default: 6)")
    arguments = parser.parse_args()
    began, folder = time.monotonic(), arguments.output
    if site.ENABLE_USER_SITE:
        sys.exit("error: this Python is no virtual environment; type: make dist")
    folder.mkdir(parents=True, exist_ok=True)
    wheel = build_wheel(folder)
    say(f"dist: {wheel}")
    asked = ["convoy-ml", tensorflow(), "pip"]  # MLflow notes pip's version with each model
    packages = [name for name in needed(asked) if name != "convoy-ml"]
    path, draft = folder / "env.tar.gz", folder / ".env.tar.gz"
    size = pack(draft, wheel, packages, arguments.level)
    try_out(draft)
    draft.replace(path)
    say(
        f"dist: {path}: {path.stat().st_size / 2**20:,.0f} MiB, unpacked {size / 2**20:,.0f} MiB; Python"
        f" {platform.python_version()}, Convoy, {len(packages)} packages  [{time.monotonic() - began:.0f} s]"
    )
    libraries = " ".join(system_libraries())
    say(f"dist: workers need {platform.machine()}, {' '.join(platform.libc_ver())} or newer, tar, gzip, {libraries}")


if __name__ == "__main__":
    main()
