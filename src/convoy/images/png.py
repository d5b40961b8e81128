"""The chunks of a PNG file. Pure."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from convoy.images.bad_image import BadImage
from convoy.images.orientation import exif_orientation, orientation_of, png_text_metadata

_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"CgBI")
"""Chunks that decide about the first frame's pixels."""
PLAIN = frozenset((b"IHDR", b"IDAT", b"IEND", b"pHYs", b"tIME"))
"""Chunks of which libpng never prints a warning."""
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


@dataclass(slots=True)
class Chunks:
    """What the chunks of a PNG say.

    Attributes:
        orientation: EXIF orientation, 1 (upright) to 8.
        names: Names of the chunks.
        palette: Payload of ``PLTE``, or None.
        significant: Payload of ``sBIT``, or None.
        transparent: Payload of ``tRNS``, or None.
        damaged: Number of chunks without pixels whose checksum is wrong.
    """

    orientation: int = 1
    names: set[bytes] = field(default_factory=set)
    palette: memoryview | None = None
    significant: bytes | None = None
    transparent: bytes | None = None
    damaged: int = 0


def size_of(content: bytes) -> tuple[int, int, int, int]:
    """Return (width, height, bits, colour type) of a PNG."""
    if content[12:16] != b"IHDR":
        raise BadImage("truncated" if len(content) < 16 else "corrupt", "the PNG does not begin with its header")
    width, height, bits, colour = struct.unpack_from(">IIBB", content, 16)
    return width, height, bits, colour


def chunks(content: bytes) -> Iterator[tuple[bytes, memoryview, bool]]:
    """Yield (name, payload, whether its checksum is right) of every chunk.

    Raises:
        BadImage: ``truncated``; or ``corrupt``: the checksum of a chunk with pixels is wrong. Nothing else reveals
            damaged pixels.
    """
    at, end, view = 8, len(content), memoryview(content)
    while True:
        if at + 12 > end:
            raise BadImage("truncated", f"the PNG ends after {end} bytes, before its last chunk")
        length = int.from_bytes(view[at : at + 4], "big")
        name = content[at + 4 : at + 8]
        if at + 12 + length > end:
            raise BadImage("truncated", f"the PNG ends after {end} bytes, within a chunk")
        right = zlib.crc32(view[at + 4 : at + 8 + length]) == int.from_bytes(
            view[at + 8 + length : at + 12 + length], "big"
        )
        if not right and (not name.isalpha() or name[:1].isupper() or _could_be_pixels(name)):
            raise BadImage("corrupt", f"the checksum of the PNG's chunk {name!r} at byte {at} does not match")
        yield name, view[at + 8 : at + 8 + length], right
        if name == b"IEND":
            return
        at += 12 + length


def _could_be_pixels(name: bytes) -> bool:
    """Return whether at most one byte differs from the name of a chunk that decides about pixels."""
    return any(sum(a != b for a, b in zip(name, known, strict=True)) <= 1 for known in _PIXELS)


def read_chunks(content: bytes) -> Chunks:
    """Verify the checksums of all chunks and return what they say; raises ``BadImage`` as ``chunks`` does."""
    found = Chunks()
    texts: dict[str, bytes] = {}
    for name, payload, right in chunks(content):
        if not right:
            found.damaged += 1
            continue
        found.names.add(name)
        if name == b"IDAT":
            continue
        if name == b"eXIf":
            texts["exif"] = bytes(payload)
        elif name == b"PLTE":
            found.palette = payload
        elif name == b"sBIT":
            found.significant = bytes(payload)
        elif name == b"tRNS":
            found.transparent = bytes(payload)
        elif name in _TEXTS and (metadata := png_text_metadata(name, bytes(payload))):
            texts.setdefault(*metadata)
    if texts:
        exif, xmp = texts.get("exif", b""), texts.get("xmp", b"")
        found.orientation = orientation_of(exif, xmp) if xmp else exif_orientation(exif)
    return found


def only_pixels(content: bytes, transparency: bool = True) -> bytes:
    """Return a PNG without the chunks that do not decide about pixels.

    Args:
        content: The file, whose checksums are verified.
        transparency: Whether to keep ``tRNS``.
    """
    keep = [name for name in _PIXELS if transparency or name != b"tRNS"]
    parts = [content[:8]]
    at = 8
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        name = content[at + 4 : at + 8]
        if name in keep:
            parts.append(content[at : at + 12 + length])
        if name == b"IEND":
            break
        at += 12 + length
    return b"".join(parts)


def is_padded(content: bytes) -> bool:
    """Return whether the pixels of a PNG seem to be followed by zeros: their own last four bytes are a checksum."""
    return content[-20:-16] == b"\0\0\0\0"  # after them are the checksum of the chunk and IEND, of 12 bytes


def significant_bits(chunk: bytes, colour: int) -> int:
    """Return the largest number of significant bits of grey or a colour, from ``sBIT``; 16 if the chunk is invalid."""
    values = chunk[: 3 if colour in (2, 6) else 1]
    return max(values) if values and 0 < max(values) <= 16 else 16
