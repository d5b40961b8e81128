"""Features of TensorFlow and Horovod on a machine, determined in a separate process: a bad build may crash it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_SECONDS = 120
_SOURCE = """
import json, os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as convoy does, which may not be installed here
answer = {}
try:
    import tensorflow
    devices = tensorflow.config.list_physical_devices()
    answer["devices"] = [device.name.removeprefix("/physical_device:") for device in devices]
    from tensorflow.python.util import _pywrap_util_port
    answer["onednn"] = bool(_pywrap_util_port.IsMklEnabled())
    import horovod.tensorflow as horovod
    answer["built"] = {name: bool(getattr(horovod, name + "_built")()) for name in ("gloo", "mpi", "nccl")}
except Exception as error:
    answer["problem"] = type(error).__name__ + ": " + (str(error).strip().splitlines() or [""])[0][:300]
print("\\n" + json.dumps(answer))
"""


@dataclass(frozen=True)
class Toolkit:
    """The features found on a machine.

    Attributes:
        devices: TensorFlow's devices, e.g. ``CPU:0``, ``GPU:0``; None if TensorFlow does not load.
        built: Whether Horovod was built with ``gloo``, ``mpi`` and ``nccl``; empty if it does not load.
        problem: Why one of them does not load; None if both do.
        onednn: Whether TensorFlow uses oneDNN; None if it does not load.
    """

    devices: list[str] | None = None
    built: dict[str, bool] = field(default_factory=dict)
    problem: str | None = None
    onednn: bool | None = None


def question() -> Callable[[], dict[str, Any]]:
    """Return the function that runs on a machine and returns the fields of ``Toolkit``.

    It is local, so Spark pickles its code: executors do not need Convoy.
    """
    source, seconds = _SOURCE, _SECONDS

    def ask() -> dict[str, Any]:
        import json
        import subprocess
        import sys

        try:
            done = subprocess.run(
                [sys.executable, "-c", source],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds,
            )
            answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            return answer
        except subprocess.TimeoutExpired:
            return {"problem": f"they do not load within {seconds} s"}
        except (IndexError, ValueError):  # the process ended without an answer
            last = (done.stderr.strip().splitlines() or [""])[-1][:300]
            return {"problem": f"the process that loads them ended with status {done.returncode}: {last}"}

    return ask
