"""Convoy: a collection of images becomes a trained, tracked, deployed CNN, on Spark."""

import os
from typing import Any

from convoy import quiet_import
from convoy.console.notebook import in_notebook

__version__ = "1.0.0"  # setup.py reads it here

# TensorFlow reads this when it is first imported, and leaves oneDNN off by default on CPUs without AVX-512 VNNI or the
# like, where it makes a small CNN two to three times as fast. Every process that computes imports this package first.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
quiet_import.install()
if in_notebook():
    quiet_import.quiet_libraries()

_HOMES = {
    "describe": "convoy.workflows.describe",
    "evaluate": "convoy.workflows.evaluate",
    "experiment": "convoy.workflows.experiment",
    "import_model": "convoy.workflows.import_model",
    "ingest": "convoy.workflows.ingest",
    "load": "convoy.config.loading",
    "petastorm": "convoy.dataset.petastorm.compat",
    "pipeline": "convoy.workflows.pipeline",
    "promote": "convoy.workflows.promote",
    "read_samples": "convoy.workflows.samples",
    "register_udf": "convoy.inference.sql",
    "reproduce": "convoy.workflows.reproduce",
    "rollback": "convoy.workflows.promote",
    "score": "convoy.workflows.score",
    "score_images": "convoy.inference.dataframe",
    "show_report": "convoy.workflows.report",
    "spark_session": "convoy.cluster.spark",
    "train": "convoy.workflows.train",
    "tune": "convoy.workflows.tune",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    """Import a public function when it is first used: Spark, TensorFlow and MLflow are slow to import."""
    if name not in _HOMES:
        raise AttributeError(f"module 'convoy' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
