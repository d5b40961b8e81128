"""Files that several of these test modules need."""

import functools
import io
import struct
import zlib

import numpy as np
from sklearn.datasets import load_sample_images


def png(width, height, bit_depth=8, colour=0, chunks=(), rows=b""):
    """A PNG file, chunk by chunk, for what Pillow does not write."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, content) for name, content in parts)


def npy(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


@functools.cache
def photographs(count):
    """That many photographs of 427x640 pixels (two, of a temple and a flower, and their mirror images)."""
    images = [np.asarray(image) for image in load_sample_images().images]
    images += [np.ascontiguousarray(image[:, ::-1]) for image in images]
    return images[:count]
