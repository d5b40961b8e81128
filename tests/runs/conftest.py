"""The store that tests read from, and do not write to."""

import pytest

from tests.runs.stores import Store, copied, written


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Store:
    """Three trainings, a failure and a run that goes on; MLflow has to be connected by the test."""
    return written(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def own(runs, tmp_path) -> Store:
    """A copy of that store, connected, which the test may change."""
    return copied(runs, tmp_path)
