"""What the training benchmarks read: made once by Convoy under ``work/bench``, and the same pixels as plain arrays."""

import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import peer_images
from measure import say
from photographs import draw_folder

from convoy.cluster.spark import session
from convoy.config import DatasetConfig, ImageConfig, SourceConfig, SparkConfig, StorageConfig
from convoy.dataset.ingest.build import ingest
from convoy.dataset.reading.examples import read_split
from convoy.dataset.sources import source_of
from convoy.dataset.storage import catalog
from convoy.dataset.storage.manifest import Manifest

VALIDATION = 1_000


@dataclass(frozen=True)
class Data:
    """A dataset version with ``rows`` training samples; its training split as .npy files where there is a folder."""

    version: Path
    rows: int
    arrays: Path | None = None


def mnist(folder: str, work: Path, count: int) -> Data:
    """``count`` training images of MNIST, codec raw, as a dataset and as arrays."""
    linked = work / f"mnist-split-{count}"
    if not linked.exists():
        _link(Path(folder).expanduser().absolute(), linked, count)
    data = _dataset(linked, work, ImageConfig(28, 28, 1, "none"), StorageConfig())
    arrays = work / f"arrays-{count}"
    if not arrays.exists():
        split = read_split(data.version, Manifest.load(data.version), "train")
        draft = _draft(arrays)
        np.save(draft / "images.npy", split.images)
        np.save(draft / "labels.npy", split.labels)
        draft.rename(arrays)
    return Data(data.version, data.rows, arrays)


def photographs(work: Path, count: int) -> Data:
    """``count`` photographs (or a few less) of 224x224, codec jpeg."""
    folder = work / f"photographs-{count}-400x533"
    if not folder.exists():
        say(f"draw {count:,} photographs")
    return _dataset(draw_folder(folder, count, 400, 533), work, ImageConfig(224, 224, 3), StorageConfig(codec="jpeg"))


def _dataset(folder: Path, work: Path, image: ImageConfig, storage: StorageConfig) -> Data:
    config = DatasetConfig(
        str(work / "datasets"), folder.name, image=image, storage=storage, validation_fraction=0.05, test_fraction=0.0
    )
    if not catalog.versions(config.root, config.name):
        say(f"ingest {folder.name}")
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:  # and Spark is gone
            pool.submit(_ingest, str(folder), config).result()
    version = catalog.find(config.root, config.name, "latest")
    return Data(version, Manifest.load(version).split("train").rows)


def _ingest(folder: str, config: DatasetConfig) -> None:
    with session("benchmark", SparkConfig(master="local[2]")) as spark:
        ingest(spark, source_of(SourceConfig("folder", folder)), config, lambda *_: None)


def _link(given: Path, linked: Path, count: int) -> None:
    """Hard links ``<split>/<digit>/<image>``: ``count`` to train on and a few to validate on, which Convoy wants."""
    say(f"link {count:,} images of MNIST")
    train = given / "train" if (given / "train").is_dir() else given
    test = given / "test" if (given / "test").is_dir() else train
    draft = _draft(linked)
    for split, folder, number in (("train", train, count), ("validation", test, min(VALIDATION, count))):
        images = peer_images.labelled_paths(str(folder))
        for label in {label for _, label in images}:
            (draft / split / str(label)).mkdir(parents=True)
        stride = max(1, len(images) // number)  # fewer than all are of all classes
        for i in range(number):
            path, label = images[i * stride % len(images)]
            os.link(path, draft / split / str(label) / f"{i:06d}{Path(path).suffix}")
    draft.rename(linked)


def _draft(folder: Path) -> Path:
    draft = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    return draft
