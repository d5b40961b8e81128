"""WebDataset's tar files by its ``WebLoader`` with 2 workers, in an environment of its own: ARRAYS BATCH."""

import functools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import webdataset
from epochs import serve

SHARDS = 4


def write(arrays: Path, folder: Path) -> None:
    images, labels = np.load(arrays / "images.npy"), np.load(arrays / "labels.npy")
    draft = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for shard in range(SHARDS):
        # A time that is a whole number keeps headers out of the file that would take half of the reading time.
        with webdataset.TarWriter(str(draft / f"{shard:06d}.tar"), mtime=0) as writer:
            for i in range(shard, len(images), SHARDS):
                writer.write({"__key__": f"{i:06d}", "bin": images[i].tobytes(), "cls": int(labels[i])})
    draft.rename(folder)


def stacked(samples, shape):
    """The quickest way: no decoder looks at each sample."""
    images, labels = zip(*samples, strict=True)
    pixels = torch.frombuffer(bytearray(b"".join(images)), dtype=torch.uint8)
    return pixels.reshape(-1, *shape), torch.tensor([int(label) for label in labels])


def prepare(arrays: str, batch: str) -> Callable[[], int]:
    folder = Path(arrays) / "webdataset"
    if not folder.exists():
        write(Path(arrays), folder)
    shape = np.load(Path(arrays) / "images.npy", mmap_mode="r").shape[1:]
    urls = str(folder / f"{{000000..{SHARDS - 1:06d}}}.tar")
    dataset = webdataset.WebDataset(urls, shardshuffle=False).to_tuple("bin", "cls")
    dataset = dataset.batched(
        int(batch), collation_fn=functools.partial(stacked, shape=shape)
    )  # in the workers, as its documentation advises
    loader = webdataset.WebLoader(dataset, batch_size=None, num_workers=2, persistent_workers=True)

    def epoch() -> int:
        return sum(len(labels) for _, labels in loader)

    return epoch


if __name__ == "__main__":
    serve(lambda: prepare(*sys.argv[1:]), ["webdataset"])
