"""Folders of a process: they outlive its forks, and go with it."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import multiprocessing
from convoy.cluster.scratch import scratch_folder
folder = scratch_folder("convoy-test-")
child = multiprocessing.get_context("fork").Process(target=int)
child.start()
child.join()
import os
print(folder, os.path.isdir(folder))
"""


def test_a_forked_child_leaves_the_folder_and_the_exit_removes_it():
    """Horovod forks such children; in Python 3.13 they clear what atexit refers to."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=1200, check=True)
    folder, existed = done.stdout.split()
    assert existed == "True"
    assert not Path(folder).exists()
