"""LitData's ``StreamingDataset`` and ``StreamingDataLoader`` with 2 workers, in its own environment: ARRAYS BATCH."""

import functools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import litdata
import numpy as np
import torch
from epochs import serve


def sample(index, arrays):
    images, labels = np.load(f"{arrays}/images.npy", mmap_mode="r"), np.load(f"{arrays}/labels.npy", mmap_mode="r")
    return {"image": torch.from_numpy(images[index].copy()), "label": int(labels[index])}


def write(arrays: Path, folder: Path) -> None:
    draft = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    rows = len(np.load(arrays / "labels.npy", mmap_mode="r"))
    litdata.optimize(
        fn=functools.partial(sample, arrays=str(arrays)),
        inputs=list(range(rows)),
        output_dir=str(draft),
        num_workers=2,
        chunk_bytes="64MB",
    )
    draft.rename(folder)


def prepare(arrays: str, batch: str) -> Callable[[], int]:
    folder = Path(arrays) / "litdata"
    if not folder.exists():
        write(Path(arrays), folder)
    dataset = litdata.StreamingDataset(str(folder), shuffle=False)
    loader = litdata.StreamingDataLoader(dataset, batch_size=int(batch), num_workers=2, persistent_workers=True)

    def epoch() -> int:
        return sum(len(samples["label"]) for samples in loader)

    return epoch


if __name__ == "__main__":
    # LitData stages chunks in caches of its own before they are moved to the output: keep them on the same disk.
    os.environ["DATA_OPTIMIZER_CACHE_FOLDER"] = sys.argv[1] + "/litdata-cache"
    os.environ["DATA_OPTIMIZER_DATA_CACHE_FOLDER"] = sys.argv[1] + "/litdata-data"
    serve(lambda: prepare(*sys.argv[1:]), ["litdata"])
