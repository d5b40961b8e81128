"""TensorFlow and Keras as processes import them that train or score, of which there are many."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_INFO = (b"I0000 ", b"WARNING: All log messages before absl::InitializeLog() is called")


def import_tensorflow() -> Any:
    """Import TensorFlow, and with it Keras without its plots and its wrappers for scikit-learn.

    That is 80 MB less in every Python worker and rank, 0.6 s sooner.
    """
    absent = [name for name in ("matplotlib", "sklearn") if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]  # an import of it raises ImportError
    try:
        with _without_messages():
            import keras  # noqa: F401
            import tensorflow as tf
    finally:
        for name in absent:
            del sys.modules[name]
    return tf


@contextmanager
def _without_messages() -> Iterator[None]:
    """Leave out TensorFlow's messages of level INFO while it is imported, if ``TF_CPP_MIN_LOG_LEVEL`` asks for it.

    TensorFlow 2.18 and later write those before its logging is set up, and so whatever that variable says:
    https://github.com/tensorflow/tensorflow/issues/79029. Other lines are written when the import is over.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0") == "0" or "tensorflow" in sys.modules:
        yield
        return
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            written.seek(0)
            for line in written:
                if not line.startswith(_INFO):
                    os.write(2, line)


def onednn_enabled() -> bool:
    """Return whether TensorFlow computes with oneDNN in this process, or would if it were imported now.

    ``TF_ENABLE_ONEDNN_OPTS`` decides, which ``import convoy`` sets to 1 where the user has not set it. It has no effect
    on a TensorFlow that was imported before.
    """
    if "tensorflow" not in sys.modules:
        return os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").lower() in ("1", "true")
    from tensorflow.python.util import _pywrap_util_port

    return bool(_pywrap_util_port.IsMklEnabled())
