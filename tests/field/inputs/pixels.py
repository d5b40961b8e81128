"""Images whose numbers are not 8 bits in three channels, one function a kind; each returns the bytes of a file."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, TiffImagePlugin

from tests.images.support import npy, png

TYPES = {"u": 1, "i": 2, "f": 3}


def ramp(low, high, dtype, size=24):
    """Return values from low to high, row by row, (size, size)."""
    return np.linspace(low, high, size * size).reshape(size, size).astype(dtype)


def tiff(values, tags=None, photometric=None, extra=(), deflate=False, planes=False, order="<"):
    """Return a TIFF of values (H, W) or (H, W, bands), of any type, with further tags {number: value}."""
    values = np.ascontiguousarray(values)
    height, width, bands = (*values.shape, 1)[:3]
    size = values.nbytes // bands
    offsets = [8 + size * i for i in range(bands)] if planes else [8]
    values = values.transpose(2, 0, 1) if planes else values
    pixels = values.astype(values.dtype.newbyteorder(order)).tobytes()
    pixels = zlib.compress(pixels) if deflate else pixels
    entries = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8 * values.dtype.itemsize] * bands),
        259: (3, [8 if deflate else 1]),
        262: (3, [(2 if bands == 3 else 1) if photometric is None else photometric]),
        273: (4, offsets),
        277: (3, [bands]),
        278: (4, [height]),
        279: (4, [size] * bands if planes else [len(pixels)]),
        284: (3, [2 if planes else 1]),
        339: (3, [TYPES[values.dtype.kind]] * bands),
    }
    if extra:
        entries[338] = (3, list(extra))
    kind = {"u": (4, "I"), "i": (9, "i"), "f": (11, "f")}[values.dtype.kind]
    for tag, value in (tags or {}).items():
        entries[tag] = (2, value) if isinstance(value, bytes) else (kind[0], [value])
    pixels += bytes(len(pixels) % 2)
    formats = {2: "s", 3: "H", 4: "I", 9: "i", 11: "f"}
    directory, rest = [], b""
    start = 8 + len(pixels) + 2 + 12 * len(entries) + 4
    for tag, (number, content) in sorted(entries.items()):
        packed = content if number == 2 else struct.pack(f"{order}{len(content)}{formats[number]}", *content)
        place = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(order + "I", start + len(rest))
        rest += packed + bytes(len(packed) % 2) if len(packed) > 4 else b""
        directory.append(struct.pack(order + "HHI", tag, number, len(content)) + place)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(pixels))
    return head + pixels + struct.pack(order + "H", len(entries)) + b"".join(directory) + bytes(4) + rest


def int32_tiff():
    return tiff(ramp(0, 254, np.int32))


def uint32_above_the_signed_range():
    return tiff(ramp(0, 2**32 - 1, np.uint32))


def twelve_bits_in_sixteen():
    return tiff(ramp(0, 4095, np.uint16))


def full_sixteen_bits():
    return tiff(ramp(0, 65535, np.uint16))


def twelve_bit_colours_in_sixteen(deflate=False):
    values = np.dstack([ramp(0, 4095, np.uint16), ramp(4095, 0, np.uint16), np.full((24, 24), 2048, np.uint16)])
    return tiff(values, deflate=deflate)


def signed_ct():
    return tiff(ramp(-1024, 3071, np.int16))


def signed_bytes():
    return tiff(ramp(-128, 127, np.int8))


def floats(low=0.0, high=1.0):
    return tiff(ramp(low, high, np.float32))


def floats_with_nan():
    values = ramp(0, 1, np.float32)
    values[3, 3] = np.nan
    return tiff(values)


def floats_without_data():
    """GDAL's tag names the value of pixels without data, which would be the smallest of all."""
    values = ramp(0, 1, np.float32)
    values[0, :4] = -9999
    return tiff(values, {42113: b"-9999\0"})


def states_its_range():
    return tiff(ramp(0, 1000, np.uint16), {340: 0, 341: 1000})


def signed_states_its_range():
    return tiff(ramp(-500, 500, np.int16), {340: -1000, 341: 1000})


def states_its_largest_value():
    return tiff(ramp(0, 3900, np.uint16), {281: 3900})


def infrared_as_alpha():
    pixels = np.dstack([ramp(0, 255, np.uint8)] * 3 + [np.full((24, 24), 30, np.uint8)])
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF")
    return file.getvalue()


def infrared_band():
    pixels = np.dstack([ramp(0, 255, np.uint8)] * 4)
    return tiff(pixels, photometric=2, extra=[0])


def bands(count, dtype=np.uint16):
    return tiff(np.dstack([ramp(0, 10_000, dtype, 12)] * count), photometric=1, extra=[0] * (count - 1))


def lab_tiff():
    file = io.BytesIO()
    image = Image.new("LAB", (16, 16), (128, 128, 128))
    image.save(file, "TIFF")
    return file.getvalue()


def significant_bits_unscaled():
    values = ramp(0, 4095, ">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    return png(24, 24, 16, 0, chunks=[(b"sBIT", b"\x0c")], rows=rows)


def significant_bits_scaled():
    values = ramp(0, 4095, np.uint16)
    rows = b"".join(b"\0" + (row << 4 | row >> 8).astype(">u2").tobytes() for row in values)
    return png(24, 24, 16, 0, chunks=[(b"sBIT", b"\x0c")], rows=rows)


def twelve_bit_colour_png():
    values = np.dstack([ramp(0, 4095, ">u2"), ramp(4095, 0, ">u2"), np.full((24, 24), 2048, ">u2")])
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    return png(24, 24, 16, 2, rows=rows)


def float_npy():
    return npy(ramp(0, 1, np.float32))


def channels_first_npy():
    return npy(np.zeros((3, 24, 24), np.uint8))


def xmp_only_tiff(orientation):
    """Return a TIFF (16 high, 32 wide as stored) whose orientation is in its XMP packet alone."""
    packet = f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[700] = packet
    info.tagtype[700] = 1
    file = io.BytesIO()
    marked().save(file, "TIFF", tiffinfo=info)
    return file.getvalue()


def marked():
    """Return an image of 16 by 32 pixels, whose top left corner is white."""
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:4, :4] = 255
    return Image.fromarray(pixels)


def big_endian_compressed(dtype):
    """A ramp over a usual range of the type, as ImageJ and GDAL write it."""
    low, high = (0, 1) if np.dtype(dtype).kind == "f" else (-1024, 3071)
    return tiff(ramp(low, high, dtype), deflate=True, order=">")


def white_is_zero(dtype, high):
    return tiff(ramp(0, high, dtype), photometric=0)


def twelve_bit_colours_in_compressed_planes(high=4095):
    """16-bit colours that Pillow reads as their upper bytes only."""
    values = ramp(0, high, np.uint16)
    file = io.BytesIO()
    planes = [zlib.compress(values.astype("<u2").tobytes())] * 3
    tags = [(256, 24), (257, 24), (259, 8), (262, 2), (277, 3), (278, 24), (284, 2)]
    offsets = [8, 8 + len(planes[0]), 8 + 2 * len(planes[0])]
    at = 8 + sum(map(len, planes))
    file.write(b"II*\0" + struct.pack("<I", at + 30) + b"".join(planes))
    file.write(struct.pack("<3H3I3I", 16, 16, 16, *offsets, *map(len, planes)))
    entries = [(tag, 4, 1, value) for tag, value in tags]
    entries += [(258, 3, 3, at), (273, 4, 3, at + 6), (279, 4, 3, at + 18)]
    file.write(struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries)))
    return file.getvalue() + bytes(4)


def gif_with_a_huge_frame():
    """The frame is larger than the screen that the header states."""
    head = b"GIF89a" + struct.pack("<HHBBB", 10, 10, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, 60000, 60000, 0) + b"\2\2\x44\1\0;"
