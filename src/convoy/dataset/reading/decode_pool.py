"""Decoding of encoded files to pixels in threads: image decoders release the interpreter lock."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from convoy.dataset.reading.split_files import SplitFiles, damage_named
from convoy.images import BadImage, decode_stored

_TASKS = 4  # per thread and call: few enough to start at no cost, enough that all threads finish at about the same time


class Decoder:
    """A pool of threads that decode images.

    Args:
        files: Where the samples come from, for messages.
        threads: Number of threads.
    """

    def __init__(self, files: SplitFiles, threads: int) -> None:
        self._files, self._threads = files, threads
        self._pool = ThreadPoolExecutor(threads, "decode")

    def start(self, values: Sequence[memoryview], rows: np.ndarray, out: np.ndarray) -> list[Future[None]]:
        """Begin to decode files into an array.

        Args:
            values: The files.
            rows: int64 (n,), the samples' numbers in the split.
            out: uint8 (n, H, W, C).

        Returns:
            Futures to wait for; ``result()`` raises DatasetError if a sample is damaged.
        """
        size = -(-len(values) // (_TASKS * self._threads)) or 1
        parts = [slice(at, at + size) for at in range(0, len(values), size)]
        return [self._pool.submit(self._decode, values[part], rows[part], out[part]) for part in parts]

    def close(self) -> None:
        """Stop the threads and drop the tasks that have not begun."""
        self._pool.shutdown(cancel_futures=True)

    def _decode(self, values: Sequence[memoryview], rows: np.ndarray, out: np.ndarray) -> None:
        for row, value, target in zip(rows, values, out, strict=True):
            try:
                decode_stored(value, target)
            except BadImage:
                with damage_named(self._files.path_of(row)):
                    raise
