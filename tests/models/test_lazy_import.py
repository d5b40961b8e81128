"""Which kernels TensorFlow computes with, in a process of its own: they are chosen once."""

import os
import subprocess
import sys

import pytest

CHECK = """
import convoy
from convoy.models.lazy_import import onednn_enabled

expected = onednn_enabled()
import tensorflow

print(expected, onednn_enabled())
"""


@pytest.mark.long
@pytest.mark.train
@pytest.mark.parametrize(("given", "enabled"), [(None, True), ("0", False)])
def test_onednn_is_on_unless_the_user_turns_it_off(given, enabled):
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3"} | ({} if given is None else {"TF_ENABLE_ONEDNN_OPTS": given})
    done = subprocess.run([sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == [str(enabled)] * 2, done.stderr


@pytest.mark.long
@pytest.mark.train
def test_the_import_writes_errors_and_leaves_tensorflows_chatter_out():
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
    program = "from convoy.models.lazy_import import import_tensorflow; import_tensorflow()"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
