"""The embedded digits, ingested once for all tests of the jobs but those of ingest itself."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def ingested_digits(spark, tmp_path_factory) -> Path:
    """A folder ``datasets`` with the digits as ``conf/digits.yaml`` wants them; not to be written to."""
    root = tmp_path_factory.mktemp("ingested") / "datasets"
    arguments = ["--config", str(ROOT / "conf" / "digits.yaml"), "--dataset.root", str(root)]
    assert importlib.import_module("jobs.ingest").main(arguments) == 0
    return root
