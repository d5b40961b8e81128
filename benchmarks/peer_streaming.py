"""Mosaic Streaming's ``MDSWriter`` in two processes, as its guide to parallel conversion shows: one folder for each,
then ``merge_index``. A process of its own environment; prints its versions and the seconds it took, as JSON.
"""

import json
import os
import sys
import time
from importlib.metadata import version
from multiprocessing import Pool

from peer_images import labelled_paths, load
from streaming import MDSWriter, StreamingDataset
from streaming.base.util import merge_index

PROCESSES = 2


def convert(task):
    items, output, shape = task
    columns = {"image": "ndarray:uint8:" + ",".join(map(str, shape)), "label": "int"}
    with MDSWriter(out=output, columns=columns) as writer:
        for path, label in items:
            writer.write({"image": load(path, shape), "label": label})


def main(root: str, output: str, *sides: str) -> None:
    shape = [int(side) for side in sides]
    started = time.perf_counter()
    items = labelled_paths(root)
    tasks = [(items[i::PROCESSES], os.path.join(output, str(i)), shape) for i in range(PROCESSES)]
    with Pool(PROCESSES) as pool:
        pool.map(convert, tasks)
    merge_index(output, keep_local=True)
    seconds = time.perf_counter() - started
    rows = len(StreamingDataset(local=output, batch_size=1))
    versions = {name: version(name) for name in ("mosaicml-streaming", "opencv-python-headless", "numpy")}
    print(json.dumps({"seconds": seconds, "rows": rows, "versions": versions}))


if __name__ == "__main__":
    main(*sys.argv[1:])
