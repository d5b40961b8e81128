"""What a machine answers, and a machine without Convoy, TensorFlow or a folder."""

import json
import os
import subprocess
import sys

import pytest
from pyspark import cloudpickle

from convoy.doctor.facts import Folder
from convoy.doctor.probe import host_of, probe_of
from convoy.training.distributed import toolkit
from convoy.training.distributed.toolkit import Toolkit


def asked(dataset, checkpoints, manifest=""):
    return host_of(next(probe_of(manifest, str(dataset), str(checkpoints), thorough=False)([])))


def test_a_machine_tells_what_it_has(tmp_path):
    host = asked(tmp_path, tmp_path / "a" / "b")
    assert host.python == sys.version.split()[0]
    assert 1 <= host.cores <= (os.cpu_count() or 1)
    assert host.memory_mb > 100
    assert host.toolkit is None
    assert host.dataset == Folder(str(tmp_path), True, True, True, host.dataset.free_mb)
    assert host.checkpoints == Folder(str(tmp_path / "a" / "b"), False, True, True, host.checkpoints.free_mb)
    assert host.dataset.free_mb > 0
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_no_folder_to_write_to(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        folder = asked(path, tmp_path).dataset
        assert (folder.exists, folder.readable, folder.writable) == (path.name == "file", False, False)


def test_it_is_sent_as_code_so_a_host_without_convoy_answers(tmp_path):
    question = cloudpickle.dumps(probe_of("", str(tmp_path), str(tmp_path), thorough=False))
    answer = "import pickle, sys; sys.modules['convoy'] = None; print(next(pickle.load(sys.stdin.buffer)([])))"
    done = subprocess.run([sys.executable, "-c", answer], input=question, capture_output=True, check=True)
    host = host_of(done.stdout.decode())
    assert host.machine.versions["convoy"] is None
    assert host.dataset.exists


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (
            """echo chatter; echo '{"devices": ["CPU:0"], "built": {"gloo": true}}'""",
            Toolkit(["CPU:0"], {"gloo": True}),
        ),
        ("echo no json", Toolkit(problem="the process that loads them ended with status 0: ")),
        (
            "echo first >&2; echo Illegal instruction >&2; exit 132",
            Toolkit(problem="the process that loads them ended with status 132: Illegal instruction"),
        ),
        ("exec sleep 60", Toolkit(problem="they do not load within 1 s")),
    ],
)
def test_whatever_comes_of_loading_them_is_an_answer(tmp_path, monkeypatch, program, expected):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{program}\n")
    python.chmod(0o755)
    if "sleep" in program:
        monkeypatch.setattr(toolkit, "_SECONDS", 1)
    ask = toolkit.question()
    monkeypatch.setattr(sys, "executable", str(python))
    assert Toolkit(**json.loads(json.dumps(ask()))) == expected
