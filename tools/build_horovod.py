"""Build Horovod's wheel for the Python and the TensorFlow of an environment, or take it from the user's cache.

    python3 tools/build_horovod.py --python .venv/bin/python --output FOLDER

The environment needs TensorFlow's files (TensorFlow need not be importable yet) and the packages named in ``NEEDED``.
The source package comes from the package index that pip uses; its SHA-256 is checked and ``tools/patches`` is applied.
The last line on stdout is the path of the wheel. ``tools/setup.sh`` and ``tools/wheelhouse.py`` call this.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VERSION = "0.28.1"
SHA256 = "92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0"
PATCH = Path(__file__).resolve().parent / "patches" / f"horovod-{VERSION}.patch"
NEEDED = ("cloudpickle", "cmake", "packaging", "pip", "psutil", "pyyaml", "setuptools", "wheel")

_SETTINGS = {
    "HOROVOD_WITH_TENSORFLOW": "1",
    "HOROVOD_WITHOUT_PYTORCH": "1",
    "HOROVOD_WITHOUT_MXNET": "1",
    "HOROVOD_WITH_GLOO": "1",
    "HOROVOD_WITHOUT_MPI": "1",
    "CMAKE_POLICY_VERSION_MINIMUM": "3.5",  # Gloo's CMakeLists.txt asks for 2.8, which CMake 4 refuses
}
_ARCHITECTURE = ("f16c", "avx", "fma")  # what Horovod's build looks for
# Headers that GCC 13 (cstdint) and GCC 14 (stdexcept) no longer include with others, as Gloo and Horovod expect.
_INCLUDE = "-include cstdint -include stdexcept"

# Of TensorFlow's wheels for Linux, 2.16 to 2.21. ``check`` compares them with what TensorFlow itself reports.
_TENSORFLOW_FLAGS = ("-D_GLIBCXX_USE_CXX11_ABI=1", "--std=c++17", "-DEIGEN_MAX_ALIGN_BYTES=64")

_DESCRIBE = """
import importlib.metadata, importlib.util, json, sys, sysconfig
spec = importlib.util.find_spec("tensorflow")
names = [name for name in ("tensorflow", "tensorflow-cpu") for dist in importlib.metadata.distributions(name=name)]
print(json.dumps({
    "python": sysconfig.get_config_var("EXT_SUFFIX"),
    "tensorflow": importlib.metadata.version(names[0]) if names else None,
    "folder": spec.submodule_search_locations[0] if spec else None,
    "prefix": sys.prefix,
}))
"""
_CHECK = """
import sys
import tensorflow
flags = [flag for flag in tensorflow.sysconfig.get_compile_flags() if not flag.startswith("-I")]
if flags != sys.argv[1:]:
    sys.exit(f"error: TensorFlow {tensorflow.__version__} was compiled with {flags}, Horovod with {sys.argv[1:]}")
import horovod.tensorflow
if not horovod.tensorflow.gloo_built():
    sys.exit("error: Horovod was built without Gloo")
"""


class BuildError(Exception):
    """What went wrong, in one line."""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", required=True, help="the environment's interpreter")
    parser.add_argument("--output", type=Path, help="folder to put the wheel into")
    parser.add_argument("--check", action="store_true", help="import the installed Horovod instead of building it")
    arguments = parser.parse_args()
    try:
        if arguments.check:
            check(arguments.python)
        else:
            print(wheel(arguments.python, arguments.output or parser.error("--output is missing")))
    except BuildError as error:
        sys.exit(f"error: {error}")


def check(python: str) -> None:
    """Raise an error unless Horovod loads and was compiled with TensorFlow's flags."""
    _run([python, "-c", _CHECK, *_TENSORFLOW_FLAGS], {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})


def wheel(python: str, output: Path) -> Path:
    """Put Horovod's wheel into a folder: the cached one if it is whole and of the same ingredients, else a new one.

    Args:
        python: Interpreter of the environment that it is built with.
        output: The folder; made if it does not exist.

    Returns:
        The wheel's path.

    Raises:
        BuildError: No TensorFlow there, another source package than expected, or it does not compile.
    """
    found = _ingredients(python)
    cache = cache_folder()
    entry = cache / hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:24]
    output.mkdir(parents=True, exist_ok=True)
    cached = cached_wheel(entry, found)
    if cached is not None:
        print(f"using {cached}", file=sys.stderr)
        return Path(shutil.copy(cached, output))
    with tempfile.TemporaryDirectory(prefix="horovod-") as scratch:
        built = _build(python, found, Path(scratch))
        _keep(built, found, entry)
        return Path(shutil.copy(built, output))


def cache_folder() -> Path:
    """Return the user's folder of wheels that were built before; it may not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "convoy" / "horovod"


def cached_wheel(entry: Path, ingredients: Mapping[str, Any]) -> Path | None:
    """Return the wheel of a cache entry, or None if there is none; a damaged or foreign entry is removed.

    Args:
        entry: Folder of the entry.
        ingredients: What the wheel has to be made of.
    """
    if not entry.is_dir():
        return None
    try:
        recorded = json.loads((entry / "wheel.json").read_text())
        path = entry / recorded["file"]
        if recorded["ingredients"] == ingredients and _sha256(path) == recorded["sha256"]:
            with zipfile.ZipFile(path) as archive:
                if any(name.endswith("mpi_lib" + ingredients["python"]) for name in archive.namelist()):
                    return path
        problem = "is not the wheel that was put there"
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        problem = f"cannot be used ({error})"
    print(f"{entry} {problem}; building it again", file=sys.stderr)
    shutil.rmtree(entry, ignore_errors=True)
    return None


def _keep(built: Path, ingredients: Mapping[str, Any], entry: Path) -> None:
    """Put a wheel into the cache, in one step; a cache that cannot be written to is no failure."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=entry.parent, prefix=".draft-") as folder:
            draft = Path(folder) / "entry"
            draft.mkdir()
            shutil.copy(built, draft)
            recorded = {"file": built.name, "sha256": _sha256(built), "ingredients": ingredients}
            (draft / "wheel.json").write_text(json.dumps(recorded, indent=1) + "\n")
            draft.rename(entry)
    except OSError as error:  # another setup may have put it there meanwhile, too
        print(f"the wheel is not kept in {entry}: {error}", file=sys.stderr)


def _ingredients(python: str) -> dict[str, Any]:
    """Return everything that decides what the compiler makes."""
    environment = json.loads(_run([python, "-c", _DESCRIBE]))
    if environment["tensorflow"] is None or environment["folder"] is None:
        raise BuildError(f"{python} has no TensorFlow, which Horovod is compiled against")
    compiler = os.environ.get("CXX", "g++")
    own = {name: os.environ[name] for name in ("CXX", "CXXFLAGS", "LDFLAGS") if name in os.environ}
    return {
        "horovod": VERSION,
        "source": SHA256,
        "patch": _sha256(PATCH),
        "recipe": [_SETTINGS, _INCLUDE, list(_TENSORFLOW_FLAGS)],
        "compiler": _run([compiler, "--version"]).partition("\n")[0],
        "libc": " ".join(platform.libc_ver()),
        "machine": platform.machine(),
        "architecture": _architecture(),
        "settings": own,
        "python": environment["python"],
        "tensorflow": environment["tensorflow"],
    }


def _architecture() -> str:
    """Return the flags for instructions that this processor has, of those that Horovod has code for."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    has = set(re.findall(r"\w+", next(iter(re.findall(r"^flags\s*:(.*)", text, re.MULTILINE)), "")))
    return " ".join(f"-m{name}" for name in _ARCHITECTURE if name in has)


def _build(python: str, ingredients: Mapping[str, Any], scratch: Path) -> Path:
    """Compile it; return the wheel in ``scratch``."""
    source = _source(python, scratch)
    for file, text in patched(source, PATCH.read_text()).items():
        (source / file).write_text(text)
    # The build splits TensorFlow's paths at spaces, so it sees the environment through a link without any.
    where = json.loads(_run([python, "-c", _DESCRIBE]))
    home = scratch / "environment"
    home.symlink_to(where["prefix"])
    tensorflow = home / Path(where["folder"]).relative_to(where["prefix"])
    _describe_tensorflow(scratch / "description", where["tensorflow"], tensorflow)
    environment = {
        **os.environ,
        **_SETTINGS,
        "PATH": f"{home}/bin:{os.environ['PATH']}",
        "PYTHONPATH": str(scratch / "description"),
        "HOROVOD_CMAKE": f"{home}/bin/cmake",
        "HOROVOD_BUILD_ARCH_FLAGS": ingredients["architecture"],
        "CXXFLAGS": f"{os.environ.get('CXXFLAGS', '')} {_INCLUDE}".strip(),
        "MAKEFLAGS": f"-j{len(os.sched_getaffinity(0))}",
    }
    options = ["--no-cache-dir", "--no-build-isolation", "--no-deps", "--wheel-dir", str(scratch / "wheel")]
    command = [f"{home}/bin/python", "-m", "pip", "--disable-pip-version-check", "--no-input", "wheel"]
    _run([*command, *options, str(source)], environment)
    (built,) = (scratch / "wheel").glob("horovod-*.whl")
    return built


def _describe_tensorflow(folder: Path, version: str, tensorflow: Path) -> None:
    """Write a module that answers what Horovod's build asks TensorFlow, which then need not be importable yet."""
    folder.mkdir()
    (folder / "tensorflow.py").write_text(
        f"__version__ = {version!r}\n"
        "class sysconfig:\n"
        f"    get_include = staticmethod(lambda: {str(tensorflow / 'include')!r})\n"
        f"    get_link_flags = staticmethod(lambda: ['-L{tensorflow}', '-l:libtensorflow_framework.so.2'])\n"
        f"    get_compile_flags = staticmethod(lambda: ['-I{tensorflow / 'include'}', *{_TENSORFLOW_FLAGS!r}])\n"
    )


def _source(python: str, scratch: Path) -> Path:
    """Fetch the source package and unpack it; return its folder."""
    folder = scratch / "source"
    options = ["--no-deps", "--no-binary", "horovod", "--no-build-isolation", "--dest", str(folder)]
    command = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", *options]
    _run([*command, f"horovod=={VERSION}"])
    (archive,) = folder.glob("horovod-*.tar.gz")
    if _sha256(archive) != SHA256:
        raise BuildError(
            f"the package index has another horovod-{VERSION}.tar.gz (SHA-256 {_sha256(archive)}, expected {SHA256});"
            " use an index that has the released file"
        )
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / f"horovod-{VERSION}"


def patched(root: Path, patch: str) -> dict[str, str]:
    """Apply a unified diff, exactly: each hunk's lines have to be in its file, once.

    Args:
        root: Folder that the diff's paths, after ``a/`` and ``b/``, are relative to.
        patch: The diff; text before the first file is left out.

    Returns:
        Name of each changed file -> its new text.

    Raises:
        BuildError: A hunk does not fit.
    """
    results: dict[str, str] = {}
    for part in re.split(r"^--- a/", patch, flags=re.MULTILINE)[1:]:
        name, *hunks = re.split(r"^@@ .*\n", part, flags=re.MULTILINE)
        file = name.splitlines()[0]
        text = (root / file).read_text()
        for hunk in hunks:
            lines = hunk.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] in " -")
            after = "".join(line[1:] for line in lines if line[0] in " +")
            if text.count(before) != 1:
                raise BuildError(f"{PATCH.name} does not fit {file} of this source package")
            text = text.replace(before, after)
        results[file] = text
    return results


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _run(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    """Run a command and return its stdout; what it prints goes to stderr where it fails."""
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run: {error.strerror}") from None
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        lines = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
        compiler = next((line.strip() for line in lines if re.search(r":\d+: (fatal )?error: ", line)), None)
        last = compiler or lines[-1].removeprefix("error: ")
        raise BuildError(f"{' '.join(command[:5])[:120]} ended with status {done.returncode}: {last[:300]}")
    return done.stdout


if __name__ == "__main__":
    main()
