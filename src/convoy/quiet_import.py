"""Silence start-up messages of libraries: TensorFlow's of level INFO, and those that a user can do nothing about."""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

_INFO = (b"I0000 ", b"WARNING: All log messages before absl::InitializeLog() is called")


@contextmanager
def _without_messages() -> Iterator[None]:
    """Suppress TensorFlow's messages of level INFO during its import, if ``TF_CPP_MIN_LOG_LEVEL`` is above 0.

    TensorFlow 2.18 and later write them before logging is set up, and therefore ignore that variable:
    https://github.com/tensorflow/tensorflow/issues/79029. Other lines are written after the import.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0") == "0":
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


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Return TensorFlow's spec with a loader that suppresses the messages; None for any other module."""
        spec = PathFinder.find_spec(name, path) if name == "tensorflow" else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            with _without_messages():
                load(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Install the import hook in this process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _is_no_retracing(record: logging.LogRecord) -> bool:
    """Return whether a message is not about functions that were traced again, as those of each training are."""
    return "triggered tf.function retracing" not in record.getMessage()


def quiet_libraries() -> None:
    """Silence start-up chatter that the user can do nothing about, and nothing else.

    Commands and notebooks call it, other programs keep their settings.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # MLflow sets its level when it is imported
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout has only the JSON line
    for noisy in ("mlflow", "alembic", "absl", "tensorflow", "py4j", "horovod"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("tensorflow").addFilter(_is_no_retracing)
    warnings.filterwarnings("ignore", message="IProgress not found")  # tqdm, which MLflow imports, without ipywidgets
    warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)
    # Of packages that are compiled at their first import, e.g. the Databricks SDK.
    warnings.filterwarnings("ignore", message=".*invalid escape sequence", category=SyntaxWarning)
    for module in (r"petastorm(\.|$)", r"pyarrow(\.|$)"):
        warnings.filterwarnings("ignore", category=FutureWarning, module=module)
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=module)
