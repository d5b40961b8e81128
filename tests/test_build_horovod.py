"""tools/build_horovod.py: the cache of wheels, the patch and the source package. Nothing is compiled."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import build_horovod  # noqa: E402

WITH = {"python": ".cpython-312-x86_64-linux-gnu.so", "tensorflow": "2.21.0"}


@pytest.fixture
def entry(tmp_path):
    """A cache entry as the build leaves it."""
    folder = tmp_path / "entry"
    folder.mkdir()
    with zipfile.ZipFile(folder / "horovod.whl", "w") as archive:
        archive.writestr(f"horovod/tensorflow/mpi_lib{WITH['python']}", b"code" * 1000)
    record(folder)
    return folder


def record(folder, **changed):
    digest = hashlib.sha256((folder / "horovod.whl").read_bytes()).hexdigest()
    recorded = {"file": "horovod.whl", "sha256": digest, "ingredients": WITH} | changed
    (folder / "wheel.json").write_text(json.dumps(recorded))


def test_a_whole_wheel_of_the_same_ingredients_is_used(entry):
    assert build_horovod.cached_wheel(entry, WITH) == entry / "horovod.whl"


def test_a_wheel_that_was_built_here_is_found_again(entry, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    built = []

    def build(python, ingredients, scratch):
        name = f"horovod/tensorflow/mpi_lib{ingredients['python']}"
        with zipfile.ZipFile(scratch / "horovod.whl", "w") as archive:
            archive.writestr(name, b"code" * 1000)
        built.append(name)
        return scratch / "horovod.whl"

    monkeypatch.setattr(build_horovod, "_build", build)
    first, second = (build_horovod.wheel(sys.executable, tmp_path / folder) for folder in ("one", "two"))
    assert len(built) == 1
    assert first.read_bytes() == second.read_bytes()
    assert "using" in capsys.readouterr().err


def test_there_may_be_none(tmp_path):
    assert build_horovod.cached_wheel(tmp_path / "entry", WITH) is None


def cut_in_half(folder):
    content = (folder / "horovod.whl").read_bytes()
    (folder / "horovod.whl").write_bytes(content[: len(content) // 2])


def cut_in_half_and_recorded(folder):
    cut_in_half(folder)
    record(folder)


def of_another_python(folder):
    with zipfile.ZipFile(folder / "horovod.whl", "w") as archive:
        archive.writestr("horovod/tensorflow/mpi_lib.cpython-311-x86_64-linux-gnu.so", b"code")
    record(folder)


@pytest.mark.parametrize(
    "damage",
    [
        cut_in_half,
        cut_in_half_and_recorded,
        of_another_python,
        lambda folder: record(folder, ingredients=WITH | {"tensorflow": "2.20.0"}),
        lambda folder: record(folder, file="another.whl"),
        lambda folder: (folder / "wheel.json").unlink(),
        lambda folder: (folder / "wheel.json").write_text("{"),
        lambda folder: (folder / "wheel.json").write_text("[]"),
    ],
)
def test_a_damaged_or_foreign_wheel_is_removed(entry, damage, capsys):
    damage(entry)
    assert build_horovod.cached_wheel(entry, WITH) is None
    assert not entry.exists()
    assert "building it again" in capsys.readouterr().err


def test_the_patch_is_applied_where_its_lines_are_and_nowhere_else(tmp_path):
    patch = "Why.\n\n--- a/one.txt\n+++ b/one.txt\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n@@ -7,2 +7,1 @@\n-x\n y\n"
    (tmp_path / "one.txt").write_text("a\nb\nc\nd\ne\nf\nx\ny\n")
    assert build_horovod.patched(tmp_path, patch) == {"one.txt": "a\nB\nc\nd\ne\nf\ny\n"}
    for other in ("a\nB\nc\nx\ny\n", "a\nb\nc\na\nb\nc\nx\ny\n"):
        (tmp_path / "one.txt").write_text(other)
        with pytest.raises(build_horovod.BuildError, match=r"does not fit one\.txt"):
            build_horovod.patched(tmp_path, patch)


def test_another_source_package_is_refused(tmp_path):
    """The index has a package of that name and version with another content."""
    index = tmp_path / "index"
    index.mkdir()
    setup = b"from setuptools import setup\nsetup(name='horovod', version='0.28.1')\n"
    with tarfile.open(index / "horovod-0.28.1.tar.gz", "w:gz") as archive:
        for name, content in (
            ("setup.py", setup),
            ("PKG-INFO", b"Metadata-Version: 2.1\nName: horovod\nVersion: 0.28.1\n"),
        ):
            member = tarfile.TarInfo(f"horovod-0.28.1/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": os.devnull}
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    command = [sys.executable, "tools/build_horovod.py", "--python", sys.executable, "--output", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 1
    assert "another horovod-0.28.1.tar.gz" in done.stderr.splitlines()[-1]
    assert build_horovod.SHA256 in done.stderr
    assert not list((tmp_path / "out").iterdir())


def test_an_environment_without_tensorflow_is_refused(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "empty")], check=True)
    with pytest.raises(build_horovod.BuildError, match="has no TensorFlow"):
        build_horovod.wheel(str(tmp_path / "empty/bin/python"), tmp_path / "out")


def test_the_error_of_the_compiler_is_named(capfd):
    script = "echo a.cc; echo '  /src/a.h:12:3: error: no such member' >&2; echo 'ERROR: no wheel' >&2; exit 1"
    with pytest.raises(build_horovod.BuildError, match=r"/src/a\.h:12:3: error: no such member"):
        build_horovod._run(["bash", "-c", script])
    assert "ERROR: no wheel" in capfd.readouterr().err
