"""tools/wheelhouse.py, and the init script that installs from it on a cluster."""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import dist  # noqa: E402
import wheelhouse  # noqa: E402

SCRIPT = ROOT / "resources" / "init" / "install-convoy.sh"
WHEELHOUSE = ROOT / "dist" / "wheelhouse"


@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_the_runtimes_spark_and_tensorflow_stay_out_and_each_wheel_is_one_that_all_can_take(python):
    names = wheelhouse.packages(python)
    assert {"horovod", "petastorm", "pyarrow", "mlflow", "numpy"} <= set(names)
    assert not {"convoy-ml", "pyspark", "py4j", "tensorflow", "tensorflow-cpu", "pytest"} & set(names)
    pins, asked = wheelhouse.pins(), wheelhouse.requirements(names, python)
    assert [Requirement(line).name for line in asked] == sorted(names)
    for line in asked:
        assert pins[Requirement(line).name] in Requirement(line).specifier, line


def test_what_asks_for_one_version_of_another_is_of_one_version_itself():
    asked = {Requirement(line).name: line for line in wheelhouse.requirements(wheelhouse.packages("3.11"), "3.11")}
    pins = wheelhouse.pins()
    for name in ("mlflow", "mlflow-skinny", "pydantic", "pydantic-core"):
        assert f"=={pins[name]}" in asked[name]
    assert "==" not in asked["numpy"]


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
