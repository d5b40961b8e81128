"""Arrays for batches: aligned, so that TensorFlow takes them without a copy, and used again, so that their pages exist.

A batch of photographs has megabytes, for which the system maps and clears new pages every time.
"""

import math
import sys

import numpy as np

_ALIGNMENT = 64  # bytes: Eigen's, with AVX-512
_MOST = 32  # blocks to keep, and to look through


class Buffers:
    """Arrays that are used again once nobody holds them; for one thread."""

    def __init__(self) -> None:
        self._blocks: list[np.ndarray] = []

    def empty(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """Return an array of arbitrary values, its holder's for as long as anything refers to it or to a part of it."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        block = self._free(size + _ALIGNMENT)
        start = -block.ctypes.data % _ALIGNMENT
        return block[start : start + size].view(dtype).reshape(shape)

    def _free(self, size: int) -> np.ndarray:
        blocks = self._blocks
        for index in range(len(blocks)):
            # An array that lies in a block refers to it (its ``base``), and so does a tensor made of the array. Without
            # any there are two references: the list's, and this call's argument.
            if sys.getrefcount(blocks[index]) == 2:
                if blocks[index].nbytes < size:
                    blocks[index] = np.empty(size, np.uint8)
                return blocks[index]
        block = np.empty(size, np.uint8)
        if len(blocks) < _MOST:
            blocks.append(block)
        return block
