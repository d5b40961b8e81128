"""Arrays for batches: aligned, so that TensorFlow takes them without a copy, and reused, so that their pages exist.

A batch of photographs takes megabytes; for new arrays the operating system maps and clears new pages every time.
"""

import math
import sys

import numpy as np

_ALIGNMENT = 64  # bytes: Eigen's, with AVX-512
_MOST = 32  # most blocks to keep and to search


class Buffers:
    """Arrays that are reused once nothing refers to them; for one thread."""

    def __init__(self) -> None:
        self._blocks: list[np.ndarray] = []

    def empty(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """Return an uninitialised array, which is not reused as long as anything refers to it or to a part of it."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        block = self._free(size + _ALIGNMENT)
        start = -block.ctypes.data % _ALIGNMENT
        return block[start : start + size].view(dtype).reshape(shape)

    def _free(self, size: int) -> np.ndarray:
        blocks = self._blocks
        for index in range(len(blocks)):
            # An array in a block refers to it (its ``base``), and so does a tensor made of the array. Without any of
            # them there are two references: the list's, and this call's argument.
            if sys.getrefcount(blocks[index]) == 2:
                if blocks[index].nbytes < size:
                    blocks[index] = np.empty(size, np.uint8)
                return blocks[index]
        block = np.empty(size, np.uint8)
        if len(blocks) < _MOST:
            blocks.append(block)
        return block
