"""tools/wheelhouse.py, and the init script that installs from it on a cluster."""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import dist  # noqa: E402
import wheelhouse  # noqa: E402

SCRIPT = ROOT / "resources" / "init" / "install-convoy.sh"
WHEELHOUSE = ROOT / "dist" / "wheelhouse"


LOCK = """# Written by `make lock`: do not edit.
# python: 3.13 3.12
keras==3.5.0 \\
    --hash=sha256:00 \\
    --hash=sha256:01
numpy==2.1.3 ; python_full_version < '3.13' \\
    --hash=sha256:02
numpy==2.5.5 ; python_full_version >= '3.13' \\
    --hash=sha256:03
tensorflow-cpu==2.19.0 \\
    --hash=sha256:04
"""


@pytest.fixture
def lock(tmp_path):
    (tmp_path / "pins.txt").write_text(LOCK)
    return wheelhouse.Lock(tmp_path / "pins.txt", "3.12")


def test_a_lock_has_the_versions_and_hashes_for_its_python(lock, tmp_path):
    assert lock.versions == {"keras": "3.5.0", "numpy": "2.1.3", "tensorflow-cpu": "2.19.0"}
    text = lock.write(["numpy", "keras", "horovod"], tmp_path / "some.txt").read_text()
    assert text.splitlines()[0].startswith("numpy==2.1.3")
    assert [line.strip(" \\") for line in text.splitlines() if "hash" in line] == [
        "--hash=sha256:02",
        "--hash=sha256:00",
        "--hash=sha256:01",
    ]


def test_a_python_that_the_lock_was_not_made_for_is_refused(lock, tmp_path):
    with pytest.raises(SystemExit, match=r"pins.txt is for Python 3.13 or 3.12, not 3.11"):
        wheelhouse.Lock(tmp_path / "pins.txt", "3.11")


def asks(**packages):
    return {name: [Requirement(text) for text in texts] for name, texts in packages.items()}


CONTEXT = {"python_version": "3.12", "python_full_version": "3.12.0"}


def test_what_is_needed_follows_extras_and_markers_and_leaves_the_runtimes_packages_out():
    asked = asks(
        convoy=["keras>=3", "pyspark>=3.5", 'tensorflow-cpu; extra == "cpu"', "tool[fast]"],
        keras=["numpy", 'absent; python_version < "3.12"'],
        numpy=[],
        tool=['speed; extra == "fast"'],
        speed=[],
        absent=[],
        other=[],
    )
    assert wheelhouse.needed(asked, "convoy", CONTEXT) == {"convoy", "keras", "numpy", "tool", "speed"}


def test_accepted_versions_are_those_that_all_who_ask_accept():
    asked = asks(convoy=["numpy>=1.23,<3", "mlflow>=2"], tensorflow=["numpy>=1.26,<2.2"], mlflow=["skinny==3.0.1"])
    versions = {"numpy": "2.1.3", "mlflow": "3.0.1", "skinny": "3.0.1"}
    found = wheelhouse.accepted(asked, versions, CONTEXT)
    assert found["numpy"].contains("1.26.4")
    assert not found["numpy"].contains("2.2.0")
    # Another release of MLflow would ask for another version of its part.
    assert str(found["mlflow"] & found["skinny"]).count("==3.0.1") == 1
    assert not found["mlflow"].contains("3.0.2")


@pytest.mark.parametrize("runtime", sorted(path.name for path in (ROOT / "constraints").glob("dbr-*-ml.txt")))
def test_runtimes_have_all_that_convoy_asks_for_within_its_ranges(runtime):
    pins = wheelhouse.Lock(ROOT / "constraints" / runtime)
    for text in metadata.requires("convoy-ml") or []:
        requirement = Requirement(text)
        if requirement.marker is None:
            assert requirement.specifier.contains(pins.versions[canonicalize_name(requirement.name)]), requirement
    assert "horovod" in pins.versions
    assert "tensorflow-cpu" in pins.versions


def run(folder, python=sys.executable, **environment):
    environment = {"PATH": os.environ["PATH"], "CONVOY_PYTHON": str(python), **environment}
    if folder is not None:
        environment["CONVOY_WHEELHOUSE"] = str(folder)
    return subprocess.run(["bash", str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=600)


def refused(*arguments, **environment):
    """The one line that it says."""
    done = run(*arguments, **environment)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
    assert done.stderr.startswith("error: ")
    return done.stderr


def test_a_wheelhouse_that_is_missing_or_for_another_cluster_is_one_line(tmp_path):
    assert "CONVOY_WHEELHOUSE is not set" in refused(None)
    assert f"no Python at {tmp_path}/python" in refused(tmp_path, tmp_path / "python")
    assert f"{tmp_path} is not a wheelhouse: built.txt is missing; type make wheelhouse" in refused(tmp_path)
    (tmp_path / "built.txt").write_text("python=2.7\ntensorflow=1.0\nmachine=pdp11\n")
    assert "requirements.txt is missing" in refused(tmp_path)
    (tmp_path / "requirements.txt").write_text("")
    own = f"python={sys.version_info[0]}.{sys.version_info[1]} tensorflow={metadata.version('tensorflow-cpu')} machine="
    said = refused(tmp_path)
    assert "the wheelhouse is for python=2.7 tensorflow=1.0 machine=pdp11, and this cluster has " + own in said


def test_it_has_no_error_of_syntax():
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(SCRIPT)], check=True)


@pytest.fixture
def runtime(tmp_path):
    """A Python with Spark, TensorFlow and what they need, and a package older than Convoy takes: like a runtime."""
    home = tmp_path / "runtime"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    (packages,) = home.glob("lib/python*/site-packages")
    for file, name in dist.package_files(dist.needed([dist.tensorflow(), "pyspark"])):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        if not (packages / name).exists():
            shutil.copy(file, packages / name)
    old = packages / "petastorm-0.1.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: petastorm\nVersion: 0.1\n")
    (old / "RECORD").write_text("petastorm-0.1.dist-info/METADATA,,\npetastorm-0.1.dist-info/RECORD,,\n")
    return home / "bin" / "python"


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_runtime_without_them_gets_all_of_it_from_the_wheelhouse_alone(runtime):
    assert WHEELHOUSE.exists(), "there is no wheelhouse yet; type: make test-cluster"

    def ask(program):
        environment = {"PATH": os.environ["PATH"], "HOME": str(runtime.parent), "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run([str(runtime), "-c", program], env=environment, capture_output=True, text=True)
        return done.stdout.strip() or done.stderr

    assert "No module named 'convoy'" in ask("import convoy")
    versions = "from importlib.metadata import version as v; print(v('numpy'), v('pyspark'), v('keras'))"
    before = ask(versions)
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_EXTRA_INDEX_URL": "", "PIP_CONFIG_FILE": os.devnull}
    done = run(WHEELHOUSE, runtime, **nowhere)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Convoy 0.")
    assert ask(versions) == before  # what will do is left alone
    load = "import petastorm.reader, mlflow, horovod.tensorflow as h, convoy.jobs.train as t"
    assert ask(f"{load}; print(bool(h.gloo_built()), t.__file__)").startswith(f"True {runtime.parent.parent}")
