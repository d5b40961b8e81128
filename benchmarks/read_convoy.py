"""Convoy's reader into ``tf.data``: read_convoy.py VERSION BATCH CACHE THREADS."""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

from epochs import serve

from convoy.dataset.manifest import Manifest

try:
    from convoy.dataset.reader import ReadSettings, open_split
    from convoy.dataset.tf_batches import to_tf
except ImportError:  # a version of Convoy from before there was this reader
    from convoy.dataset.read import read_split, training_batches

    open_split = None


def prepare(version: str, batch: str, cache: str, threads: str) -> Callable[[], int]:
    path, manifest = Path(version), Manifest.load(version)
    numbers = itertools.count()
    if open_split is None:

        def epoch() -> int:
            number = next(numbers)
            data = read_split(path, manifest, "train")
            return sum(len(labels) for _, labels in training_batches(data, int(batch), 0, number, number + 1, 0, 1))

        return epoch
    reader = open_split(path, manifest, "train", ReadSettings(cache=cache, threads=int(threads)))
    dataset = to_tf(lambda: reader.batches(next(numbers), int(batch), 0, 1), reader.first())
    return lambda: sum(len(samples["labels"]) for samples in dataset)


if __name__ == "__main__":
    serve(lambda: prepare(*sys.argv[1:]), ["tensorflow-cpu", "pyarrow", "simplejpeg"])
