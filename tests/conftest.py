"""What several test modules share."""

import gc
import os

import numpy as np
import pytest
from hypothesis import settings

from tests.object_store import faulty, s3, s3_server
from tests.spark_support import encoded, spark
from tests.version_differences import skip_by_version

# Fixtures start nothing before a test asks for them.
__all__ = [
    "encoded",
    "faulty",
    "noise",
    "s3",
    "s3_server",
    "spark",
]

# Busy machines are slow at times, and that is no failure; the same examples every time, anywhere.
settings.register_profile("convoy", max_examples=50, deadline=None, derandomize=True, database=None)
settings.load_profile("convoy")


# Variables of the developer's shell would decide where tests log to, and which Spark they run on.
_OF_A_SHELL = (
    "MLFLOW_TRACKING_",
    "MLFLOW_REGISTRY_",
    "MLFLOW_EXPERIMENT_",
    "MLFLOW_RUN_",
    "DATABRICKS_",
    "SPARK_REMOTE",
)
for _name in [name for name in os.environ if name.startswith(_OF_A_SHELL)]:
    del os.environ[_name]


@pytest.fixture(autouse=True)
def _forget_tracking_uri():
    """Remove what ``mlflow.set_tracking_uri`` leaves in the environment, where it would be a default of later tests."""
    yield
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        os.environ.pop(name, None)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Take what is imported out of the garbage collector's sight: it would walk through TensorFlow again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items):
    """Skip what the installed versions cannot pass; run the longest tests first, so that no core is idle at the end."""
    skip_by_version(items)
    items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in ("e2e", "spark", "train")])


def noise(*shape, seed=0):
    """Random uint8 pixels."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="session")
def animals(tmp_path_factory):
    """A small untrained network, logged and registered as training does; see ``tests/logged.py``."""
    from tests.logged import connect, log_images

    return log_images(connect(tmp_path_factory.mktemp("animals")))


@pytest.fixture
def yaml(tmp_path):
    """Writes a file of an experiment; returns the arguments that name it."""

    def write(text):
        (tmp_path / "experiment.yaml").write_text(text)
        return "--config", str(tmp_path / "experiment.yaml")

    return write


@pytest.fixture
def clock(monkeypatch):
    """The console's clock, in the test's hands: ``clock.now += 1``."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    fake = Clock()
    monkeypatch.setattr("convoy.console.progress.time", fake)
    return fake
