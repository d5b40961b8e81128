"""LitData's ``optimize``: a process of its own environment. Prints its versions and the seconds it took, as JSON."""

import functools
import json
import os
import sys
import time
from importlib.metadata import version

import litdata
from peer_images import labelled_paths, load


def sample(item, shape):
    path, label = item
    return {"image": load(path, shape), "label": label}


def main(root: str, output: str, *shape: str) -> None:
    started = time.perf_counter()
    litdata.optimize(
        fn=functools.partial(sample, shape=[int(side) for side in shape]),
        inputs=labelled_paths(root),
        output_dir=output,
        num_workers=2,
        chunk_bytes="64MB",
    )
    seconds = time.perf_counter() - started
    rows = len(litdata.StreamingDataset(output))
    versions = {name: version(name) for name in ("litdata", "opencv-python-headless", "numpy")}
    print(json.dumps({"seconds": seconds, "rows": rows, "versions": versions}))


if __name__ == "__main__":
    # LitData stages chunks in a cache of its own before they are moved to the output: keep it on the same disk.
    os.environ["DATA_OPTIMIZER_CACHE_FOLDER"] = sys.argv[2] + "-cache"
    os.environ["DATA_OPTIMIZER_DATA_CACHE_FOLDER"] = sys.argv[2] + "-data"
    main(*sys.argv[1:])
