"""Programs of users, and Pythons that Spark's workers may run."""

from pathlib import Path

JAVA = "from convoy.cluster.spark import _choose_java\n_choose_java()\n"

PLAIN = """
from pyspark.sql import SparkSession

spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
images = spark.range(2).selectExpr("cast(id as string) AS path")
import convoy
convoy.score_images(images, "models:/x/1")
"""
"""A script that makes its own session, run without activating the environment."""


def python_without_packages(folder: Path) -> Path:
    """A ``python3`` that starts this interpreter without its packages, as that of an operating system."""
    import sys

    program = folder / "python3"
    folder.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec env -u PYTHONPATH "{sys.executable}" -I -S "$@"\n')
    program.chmod(0o755)
    return program


def python_that_does_not_run(folder: Path) -> Path:
    """A ``python3`` that fails, as a shim of a version manager without a version."""
    program = folder / "python3"
    folder.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho no version is set >&2\nexit 127\n")
    program.chmod(0o755)
    return program
