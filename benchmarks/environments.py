"""Peers that cannot share Convoy's environment get their own, once, under ``work/bench/env``."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
_OPENCV = "opencv-python-headless==4.11.0.86"
REQUIREMENTS = {
    "litdata": ["torch==2.13.0", "litdata==0.2.76", _OPENCV],
    "streaming": ["torch==2.15.0", "torchvision==0.29.2", "mosaicml-streaming==0.13.0", _OPENCV],
    # Keras 3 does not know MultiWorkerMirroredStrategy (keras-team/keras issue 20585), Keras 2 does.
    "mirrored": ["tensorflow-cpu==2.18.1", "tf-keras==2.18.0"],
    "ray": ["ray[data]==2.60.0", "tensorflow-cpu==2.18.1", "numpy<2.1", _OPENCV],
    "webdataset": ["torch==2.13.0", "webdataset==1.0.2"],
}
_TIMEOUT = 1800


class PeerError(Exception):
    """A peer cannot be installed or does not run; it is left out, with this as the reason."""


def environment(peer: str, root: Path) -> Path:
    """Return the Python of the peer's environment, which is made if it is not there.

    Raises:
        PeerError: pip fails; its last line says why.
    """
    folder = root / peer
    python, complete = folder / "bin" / "python", folder / "complete.json"
    wanted = json.dumps(REQUIREMENTS[peer])
    if complete.exists() and complete.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)], peer)
    _run([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS[peer]], peer)
    complete.write_text(wanted)
    return python


def run_peer(peer: str, python: Path, folder: str, shape: tuple[int, int, int], output: Path) -> dict:
    """Let a peer convert a folder; returns what it printed: seconds, rows, versions."""
    command = [str(python), str(HERE / f"peer_{peer}.py"), folder, str(output), *map(str, shape)]
    return json.loads(_run(command, peer).splitlines()[-1])


def _run(command: list[str], peer: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        raise PeerError(f"{peer}: not done after {_TIMEOUT} s: {' '.join(command[1:4])}") from None
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()
        raise PeerError(f"{peer}: {lines[-1]}")
    return done.stdout
