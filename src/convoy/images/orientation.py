"""Orientation of an image, from the metadata that cameras and editors write. Pure."""

import binascii
import re
import struct
import zlib

_XMP = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*([1-8])\s*[\"'<]")
_LONGEST = 1 << 20  # of an unpacked text


def upright(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Return (width, height) after EXIF orientation."""
    return (height, width) if orientation >= 5 else (width, height)


def exif_orientation(exif: bytes) -> int:
    """Return the EXIF orientation, 1 to 8, from its TIFF structure; 1 if it is missing or invalid."""
    return stated_orientation(exif) or 1


def xmp_orientation(xmp: bytes) -> int:
    """Return the orientation that an XMP packet states, 1 to 8; 1 if it does not."""
    found = _XMP.search(xmp)
    return int(found[1]) if found else 1


def orientation_of(exif: bytes, xmp: bytes) -> int:
    """Return the orientation of the EXIF, or else of the XMP packet; 1 if neither has one."""
    return stated_orientation(exif) or xmp_orientation(xmp)


def stated_orientation(exif: bytes) -> int | None:
    """Return the EXIF orientation, 1 to 8; None if it is missing or invalid."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    try:
        (offset,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, offset)
        for i in range(count):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, offset + 2 + 12 * i)
            if tag == 0x0112:
                return value if kind == 3 and 1 <= value <= 8 else None
    except struct.error:
        pass  # damaged EXIF does not harm the pixels
    return None


def png_text_metadata(name: bytes, payload: bytes) -> tuple[str, bytes] | None:
    """Return ("exif" | "xmp", its bytes) if a text chunk of a PNG holds metadata, else None.

    ImageMagick writes EXIF as hexadecimal text with the keyword "Raw profile type exif"; XMP is in an ``iTXt`` chunk.

    Args:
        name: ``tEXt``, ``zTXt`` or ``iTXt``.
        payload: Content of the chunk.
    """
    keyword, _, rest = payload.partition(b"\0")
    raw = keyword in (b"Raw profile type exif", b"Raw profile type APP1", b"Raw profile type xmp")
    if not raw and keyword != b"XML:com.adobe.xmp":
        return None
    packed = name == b"zTXt"
    if name == b"zTXt":
        rest = rest[1:]
    elif name == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[2:].split(b"\0", 2)[-1]
    if packed:
        try:
            rest = zlib.decompressobj().decompress(rest, _LONGEST)
        except zlib.error:
            return None
    if not raw:
        return "xmp", rest
    lines = rest.strip().split(b"\n", 2)  # the profile's name, its length, hexadecimal digits
    try:
        profile = binascii.unhexlify(b"".join(lines[-1].split()))
    except binascii.Error:
        return None
    return ("exif" if profile.startswith((b"Exif\0\0", b"II", b"MM")) else "xmp"), profile
