"""simplejpeg alone, on two threads, on the JPEGs of a dataset's training split in memory: decode_stored.py VERSION."""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import simplejpeg
from epochs import serve

THREADS = 2


def decode(files: Sequence[bytes]) -> int:
    for content in files:
        simplejpeg.decode_jpeg(content, "RGB")
    return len(files)


def prepare(version: str) -> Callable[[], int]:
    files = [
        content
        for path in sorted((Path(version) / "train").glob("*.parquet"))
        for content in pq.read_table(path, columns=["image"]).column("image").to_pylist()
    ]
    threads = ThreadPoolExecutor(THREADS)
    return lambda: sum(threads.map(decode, [files[i::THREADS] for i in range(THREADS)]))


if __name__ == "__main__":
    serve(lambda: prepare(*sys.argv[1:]), ["simplejpeg"])
