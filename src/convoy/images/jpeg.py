"""The segments of a JPEG file: what they say, and the file without stray bytes and damaged metadata. Pure."""

import struct
from collections.abc import Iterator

from convoy.images.bad_image import BadImage
from convoy.images.orientation import stated_orientation, xmp_orientation
from convoy.images.recognise import jpeg_from_start

FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
# Frames that libjpeg and every other decoder support: baseline, extended and progressive Huffman coding.
COMMON_FRAMES = (0xC0, 0xC1, 0xC2)
_METADATA = 1 << 18
_XMP = b"http://ns.adobe.com/xap/1.0/\0"


def segments(content: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield (marker, start of the payload, its end, number of stray bytes before) of every segment before the pixels.

    Stray bytes are skipped as libjpeg skips them: up to the next 0xFF that a marker follows. The last segment is that
    of the start of scan (or the end of the image).

    Raises:
        BadImage: ``corrupt``: A second image begins within the header.
        IndexError: The file ends before its pixels.
    """
    at = 2
    while True:
        stray = 0
        while True:
            begin = at
            while content[at] != 0xFF:
                at += 1
            stray += at - begin
            while content[at] == 0xFF:  # padding
                at += 1
            marker = content[at]
            at += 1
            if marker == 0xD8:
                raise BadImage("corrupt", f"a second image begins at byte {at - 2} of the JPEG, before its pixels")
            if marker == 0:
                stray += 2
            elif marker != 0x01 and not 0xD0 <= marker <= 0xD7:  # these have no payload
                break
        if marker == 0xD9:
            yield marker, at, at, stray
            return
        if at + 2 > len(content):
            raise IndexError("the file ends within a segment")
        length = int.from_bytes(content[at : at + 2], "big")
        yield marker, at + 2, max(at + length, at + 2), stray
        if marker == 0xDA:
            return
        at += max(length, 2)


def frame_of(content: bytes) -> tuple[int, int, int, int, int, bool]:
    """Return (marker, bits, height, width, components, whether there are stray bytes before it) of the frame header.

    Raises:
        BadImage: ``corrupt``: There is no frame header.
        IndexError, struct.error: The file ends before it.
    """
    whole = jpeg_from_start(content)
    stray = whole is not content
    for marker, start, _, skipped in segments(whole):
        stray = stray or skipped > 0
        if marker in FRAMES:
            bits, height, width, components = struct.unpack_from(">BHHB", whole, start)
            return marker, bits, height, width, components, stray
    raise BadImage("corrupt", "the JPEG has no frame header")


def jpeg_orientation(content: bytes) -> int:
    """Return the JPEG's orientation, from EXIF or XMP; 1 if there is none."""
    # Most files have neither, and the search is fast.
    has_xmp = content.find(b"tiff:Orientation", 0, _METADATA) >= 0
    if not has_xmp and content.find(b"Exif\0\0", 0, _METADATA) < 0:
        return 1
    whole, xmp = jpeg_from_start(content), b""
    try:
        for marker, start, end, _ in segments(whole):
            if marker == 0xE1:
                payload = whole[start:end]
                if payload.startswith(b"Exif\0\0") and ((stated := stated_orientation(payload)) or not has_xmp):
                    return stated or 1
                if payload.startswith(_XMP):
                    xmp = xmp or payload
    except (IndexError, BadImage):
        pass  # the decoder reports damage
    return xmp_orientation(xmp)


def is_cut_before_its_pixels(content: bytes) -> bool:
    """Return whether the JPEG ends before its pixels begin."""
    try:
        for _ in segments(content):
            pass
    except IndexError:
        return True
    except BadImage:
        pass  # damaged earlier
    return False


def cleaned(content: bytes) -> tuple[bytes, str]:
    """Return the JPEG with only the segments that decide about pixels, and the repair that this is.

    A decoder reports stray bytes between segments, or a damaged profile, in the same way as damaged pixels. What it
    reports about the result is damage to the pixels.

    Returns:
        The file without stray bytes, comments and metadata (but for JFIF's and Adobe's, which state the colour space),
        and a key of ``REPAIRS``.

    Raises:
        BadImage, IndexError: As ``segments``.
    """
    whole = jpeg_from_start(content)
    stray = whole is not content
    parts = [b"\xff\xd8"]
    for marker, start, end, skipped in segments(whole):
        stray = stray or skipped > 0
        if marker in (0xDA, 0xD9):
            parts.append(whole[start - 4 if marker == 0xDA else start - 2 :])
        elif marker in (0xE0, 0xEE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            parts.append(whole[start - 4 : end])
    return b"".join(parts), "stray_bytes" if stray else "bad_segment"


def without_padding(content: bytes, count: int) -> bytes | None:
    """Return the JPEG without ``count`` bytes before its end marker, if these are padding (all zero); else None."""
    end = content.rfind(b"\xff\xd9")
    padding = content[max(0, end - count) : max(0, end)]
    if end < count or any(padding):
        return None
    return content[: end - count] + content[end:]
