"""Mosaic Streaming's ``StreamingDataset`` in a ``DataLoader`` with 2 workers, in its own environment: ARRAYS BATCH."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from epochs import serve
from streaming import MDSWriter, StreamingDataset
from streaming.base.util import clean_stale_shared_memory
from torch.utils.data import DataLoader


def write(arrays: Path, folder: Path) -> None:
    images, labels = np.load(arrays / "images.npy"), np.load(arrays / "labels.npy")
    draft = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    columns = {"image": "ndarray:uint8:" + ",".join(map(str, images.shape[1:])), "label": "int"}
    with MDSWriter(out=str(draft), columns=columns) as writer:
        for image, label in zip(images, labels, strict=True):
            writer.write({"image": image, "label": int(label)})
    draft.rename(folder)


def prepare(arrays: str, batch: str) -> Callable[[], int]:
    folder = Path(arrays) / "streaming"
    if not folder.exists():
        write(Path(arrays), folder)
    dataset = StreamingDataset(local=str(folder), batch_size=int(batch), shuffle=False)
    loader = DataLoader(dataset, batch_size=int(batch), num_workers=2, persistent_workers=True)

    def epoch() -> int:
        return sum(len(samples["label"]) for samples in loader)

    return epoch


if __name__ == "__main__":
    clean_stale_shared_memory()  # of one that was killed
    serve(lambda: prepare(*sys.argv[1:]), ["mosaicml-streaming"])
