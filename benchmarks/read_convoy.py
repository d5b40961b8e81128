"""Convoy's reader into ``tf.data``: read_convoy.py VERSION BATCH CACHE THREADS."""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

from epochs import serve

from convoy.dataset.reading.split_reader import ReadSettings, open_split
from convoy.dataset.reading.tf_data import to_tf
from convoy.dataset.storage.manifest import Manifest


def prepare(version: str, batch: str, cache: str, threads: str) -> Callable[[], int]:
    path, manifest = Path(version), Manifest.load(version)
    numbers = itertools.count()
    reader = open_split(path, manifest, "train", ReadSettings(cache=cache, threads=int(threads)))
    dataset = to_tf(lambda: reader.batches(next(numbers), int(batch), 0, 1), reader.first())
    return lambda: sum(len(samples["labels"]) for samples in dataset)


if __name__ == "__main__":
    serve(lambda: prepare(*sys.argv[1:]), ["tensorflow-cpu", "pyarrow", "simplejpeg"])
