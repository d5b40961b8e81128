"""Files of kinds, and with damage, that collections from the field have; each function returns the bytes of a file."""

import binascii
import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests.field.inputs.pixels import marked

XMP = '<x:xmpmeta><rdf:Description tiff:Orientation="{}"/></x:xmpmeta>'


def picture(height=24, width=32):
    """Return smooth colours, which survive lossy formats."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.dstack([8 * x % 256, 8 * y % 256, (4 * x + 4 * y) % 256]).clip(0, 255).astype(np.uint8))


def saved(kind, image=None, **options):
    file = io.BytesIO()
    (image or picture()).save(file, kind, **options)
    return file.getvalue()


def jpeg(**options):
    return saved("JPEG", quality=90, **options)


def stray_bytes_between_segments():
    data = jpeg()
    at = data.index(b"\xff\xc0")
    return data[:at] + b"\x00\x11" + data[at:]


def stray_bytes_after_the_first_marker():
    data = jpeg()
    return data[:2] + b"\x00\x11\x22" + data[2:]


def stray_bytes_before_the_first_marker():
    return b"\r\n" + jpeg()


def stray_bytes_before_the_scan():
    data = jpeg()
    at = data.index(b"\xff\xda")
    return data[:at] + b"junk" + data[at:]


def zeros_before_the_last_marker():
    return jpeg()[:-2] + bytes(7) + b"\xff\xd9"


def bad_icc_marker():
    data = jpeg()
    profile = b"ICC_PROFILE\0\x05\x02" + bytes(20)  # the fifth of two parts
    return data[:2] + b"\xff\xe2" + struct.pack(">H", 2 + len(profile)) + profile + data[2:]


def damaged_scan():
    data = bytearray(saved("JPEG", Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8))))
    middle = (data.index(b"\xff\xda") + len(data)) // 2
    data[middle : middle + 8] = b"\xff\xd3" * 4
    return bytes(data)


def twelve_bit_jpeg():
    """Return the header of a JPEG of 12 bits, as medical devices write them; no decoder here goes on from it."""
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = 0xC1, 12
    return bytes(data)


def chunk(name, payload, right=True):
    checksum = zlib.crc32(name + payload) ^ (0 if right else 1)
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", checksum)


def png_with(*chunks, image=None):
    """Return a PNG with further chunks before its pixels."""
    data = saved("PNG", image)
    return data[:33] + b"".join(chunks) + data[33:]


def png_bad_ancillary_checksum(name=b"tEXt"):
    return png_with(chunk(name, b"Comment\0hello", right=False))


def png_bad_pixel_checksum():
    data = bytearray(saved("PNG"))
    data[data.index(b"IDAT") + 12] ^= 1
    return bytes(data)


def png_bad_palette_name():
    """A palette whose name has one wrong letter looks like an ancillary chunk."""
    data = bytearray(saved("PNG", picture().quantize(8)))
    data[data.index(b"PLTE")] ^= 0x20
    return bytes(data)


def png_with_profile_that_libpng_warns_of():
    return png_with(chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(200))))


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def jpeg_with_xmp(orientation):
    data = saved("JPEG", marked(), quality=100, subsampling=0)
    packet = b"http://ns.adobe.com/xap/1.0/\0" + XMP.format(orientation).encode()
    return data[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(packet)) + packet + data[2:]


def png_with_xmp(orientation):
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.format(orientation).encode()
    return png_with(chunk(b"iTXt", text), image=marked())


def png_with_raw_profile(orientation):
    tags = exif(orientation)
    text = f"\nexif\n{len(tags):8}\n".encode() + binascii.hexlify(tags) + b"\n"
    return png_with(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)), image=marked())


def webp_with_xmp(orientation):
    return saved("WEBP", marked(), lossless=True, xmp=XMP.format(orientation).encode())


def icon_of_another_size():
    """An icon whose directory says 16x16, and whose image says 60,000x60,000."""
    data = saved("PNG", picture(16, 16))
    header = struct.pack(">II", 60_000, 60_000) + data[24:29]
    data = data[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + data[33:]
    return b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(data), 22) + data


NAMED = {
    "Photoshop": ("unsupported", b"8BPS\0\1" + bytes(40)),
    "JPEG XL": ("unsupported", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40)),
    "QOI": ("unsupported", b"qoif" + bytes(40)),
    "HTML": ("not_an_image", b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>"),
    "an HTML page": ("not_an_image", "<html><body>Zugriff verweigert für Gäste</body></html>".encode("latin-1")),
    "CUR": ("unsupported", b"\0\0\2\0\1\0\x10\x10" + bytes(60)),
    "Git LFS": ("not_an_image", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"),
    "JSON": ("not_an_image", b'{"error": {"code": 403, "message": "Forbidden"}}'),
    "XML": ("not_an_image", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
    "ZIP": ("not_an_image", b"PK\x03\x04" + bytes(40)),
    "PDF": ("not_an_image", b"%PDF-1.7\n" + bytes(40)),
    "MP4": ("not_an_image", b"\0\0\0\x18ftypisom\0\0\2\0isommp41" + bytes(40)),
    "zero bytes": ("not_an_image", bytes(100)),
    "SVG": ("not_an_image", b'<svg xmlns="http://www.w3.org/2000/svg" width="8"></svg>'),
    "base64": ("not_an_image", b"/9j/4AAQSkZJRgABAQAAAQABAAD"),
    "no bytes": ("empty", b""),
}
"""What the message names -> (reason, content)."""
