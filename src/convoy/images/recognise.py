"""The kind of a file, from its content, never from its name."""

import json
import re
import struct

from convoy.images.bad_image import BadImage

_SUPPORTED = (
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"\x93NUMPY", "npy"),
    (b"BM", "bmp"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"\0\0\1\0", "ico"),
)
_PPM = re.compile(rb"P[1-6f][\s#]")
# Brands of ISO base media files (ISO/IEC 14496-12 Annex C): images, and what else there is under an image's name.
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "heic"),
}
_GENERIC_BRANDS = (b"mif1", b"msf1", b"mif2")
_CURSOR = "a cursor of Windows (CUR)"
# What cannot be decoded, but has a name. Images first; see https://en.wikipedia.org/wiki/List_of_file_signatures
_UNSUPPORTED = (
    (b"8BPS", "a Photoshop file (PSD)"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"qoif", "a QOI image"),
    (b"DDS ", "a DirectDraw surface (DDS)"),
    (b"BLP1", "a BLP texture"),
    (b"BLP2", "a BLP texture"),
    (b"v/1\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"#?RGBE", "a Radiance HDR image"),
    (b"PF\n", "a colour PFM image"),
    (b"P7\n", "a PAM image"),
    (b"icns", "an icon of macOS (ICNS)"),
    (b"\0\0\2\0", _CURSOR),
    (b"\x0a\x05\x01", "a PCX image"),
    (b"\x01\xda", "an SGI image"),
    (b"\x59\xa6\x6a\x95", "a Sun raster image"),
    (b"FUJIFILMCCD-RAW", "a raw photograph (RAF)"),
    (b"FLIF", "a FLIF image"),
    (b"BPG\xfb", "a BPG image"),
    (b"SIMPLE  =", "a FITS file"),
    (b"AT&TFORM", "a DjVu file"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF)"),
    (b"/* XPM */", "an XPM image"),
    (b"gimp xcf", "a GIMP file (XCF)"),
)
_OTHER = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer instead of the file; run 'git lfs pull'"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript program (EPS)"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript program (EPS)"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"FLV\x01", "a Flash video"),
    (b"\0\0\1\xba", "an MPEG video"),
    (b"\0\0\1\xb3", "an MPEG video"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "an MP3 file"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an OLE file (Thumbs.db, or an old Office document)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\0\5\x16\x07", "an AppleDouble side file of macOS"),
    (b"{\\rtf", "an RTF document"),
    (b"data:", "a data URI, as text"),
    (b"/9j/", "a JPEG as base64 text"),
    (b"iVBORw0KGgo", "a PNG as base64 text"),
)
_SMALLEST = 16
"""Fewest bytes of an image: with less, the first ones do not tell formats apart."""
_TEXT_PEEK = 4096
_LEADING = 16
"""Most bytes before the first marker of a JPEG that are skipped."""


def kind_of(content: bytes) -> str:
    """Return the kind of an image file, or raise ``BadImage``: ``empty``, ``not_an_image`` or ``unsupported``.

    Returns:
        ``jpeg`` | ``png`` | ``webp`` | ``bmp`` | ``gif`` | ``tiff`` | ``ppm`` | ``ico`` | ``tga`` | ``jp2`` | ``avif``
        | ``heic`` | ``dicom`` | ``npy``.
    """
    if content.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    for start, kind in _SUPPORTED:
        if content.startswith(start):
            return kind
    if not content:
        raise BadImage("empty", "the file has no bytes")
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "webp"
    if _PPM.match(content):
        return "ppm"
    if content[128:132] == b"DICM":
        return "dicom"
    if content[4:8] == b"ftyp":
        return _kind_of_media(content)
    if _jpeg_start(content) >= 0:
        return "jpeg"
    for start, name in _UNSUPPORTED:
        if name == _CURSOR and content[4:6] == b"\0\0":
            continue  # a Targa image
        if content.startswith(start) and len(content) >= _SMALLEST:
            raise BadImage("unsupported", f"{name}, a format that is not supported; save it as PNG or JPEG")
    for start, name in _OTHER:
        if content.startswith(start):
            raise BadImage("not_an_image", name)
    if found := _container(content) or _text(content):
        raise BadImage("not_an_image", found)
    if _is_tga(content):
        return "tga"
    if not any(content):
        raise BadImage("not_an_image", f"{len(content):,} zero bytes")
    raise BadImage("not_an_image", f"no known image type begins with {content[:8].hex(' ')}")


def jpeg_from_start(content: bytes) -> bytes:
    """Return a JPEG without the bytes before it; the same object if there are none."""
    return content if content.startswith(b"\xff\xd8") else content[max(0, _jpeg_start(content)) :]


def _jpeg_start(content: bytes) -> int:
    """Return where a JPEG begins that has stray bytes before it or after its first marker, or -1."""
    at = content.find(b"\xff\xd8", 0, _LEADING)
    if at < 0 or content[at + 2 : at + 3] == b"\xff":
        return at
    following = content.find(b"\xff", at + 2, at + 2 + _LEADING)
    known = (*range(0xC0, 0xD0), *range(0xDA, 0xF0), 0xFE)
    return at if 0 <= following < len(content) - 1 and content[following + 1] in known else -1


def _kind_of_media(content: bytes) -> str:
    """Return the kind of an ISO base media file from its brands; ``BadImage`` names a video."""
    size = min(max(int.from_bytes(content[:4], "big"), 16), 512)
    brands = [content[8:12], *(content[at : at + 4] for at in range(16, size - 3, 4))]
    for brand in brands if brands[0] in _GENERIC_BRANDS else brands[:1]:
        if brand in _BRANDS:
            return _BRANDS[brand]
    if brands[0] in _GENERIC_BRANDS:
        return "heic"
    if brands[0] == b"crx ":
        raise BadImage("unsupported", "a raw photograph (CR3), a format that is not supported; save it as PNG or JPEG")
    raise BadImage("not_an_image", "a QuickTime video" if brands[0] == b"qt  " else "an MP4 video")


def _container(content: bytes) -> str | None:
    if content.startswith(b"RIFF"):
        return {b"AVI ": "an AVI video", b"WAVE": "a WAV sound"}.get(content[8:12], "a RIFF file")
    if content[257:262] == b"ustar":
        return "a tar archive"
    return None


def _text(content: bytes) -> str | None:
    """Name a text, as servers return it instead of an image; None for other content."""
    start = content[:_TEXT_PEEK]
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = start[: len(start) // 2 * 2].decode("utf-16", "replace")
    else:
        try:
            text = start.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            if error.start >= len(start) - 3:  # the peek ends within a character
                text = start[: error.start].decode("utf-8-sig")
            elif start.lstrip().startswith(b"<"):  # a page in an encoding of its own
                text = start.decode("latin-1")
            else:
                return None
    if any(ord(c) < 32 and c not in "\t\n\r\f\x1b" for c in text):
        return None
    shown = f"{' '.join(text.split())[:60]!r}"
    low = text.lstrip().lower()
    if low.startswith(("<!doctype html", "<html", "<head", "<body")) or ("<html" in low and low.startswith("<")):
        return f"an HTML page, {shown}"
    if "<svg" in low[:1000] and low.startswith("<"):
        return "an SVG drawing; render it as PNG"
    if low.startswith("<?xml") or re.match(r"<[a-z]+[ />]", low):
        return f"an XML document, {shown}"
    if low.startswith(("{", "[")):
        try:
            json.loads(content[: 1 << 16])
        except ValueError:
            pass
        else:
            return f"a JSON document, {shown}"
    return f"a text, {shown}"


def _is_tga(content: bytes) -> bool:
    """Return whether the header is that of a Targa image: the format has no signature of its own at the start."""
    if content[-18:] == b"TRUEVISION-XFILE.\0" and len(content) > 44:
        return True
    if len(content) < 18:
        return False
    identifier, has_map, kind, first, length, entry, *_ = struct.unpack_from("<BBBHHB", content)
    width, height, depth, descriptor = struct.unpack_from("<HHBB", content, 12)
    mapped = kind in (1, 9)
    depths = {1: (8,), 2: (15, 16, 24, 32), 3: (1, 8, 16)}.get(kind & 7, ())
    if kind not in (1, 2, 3, 9, 10, 11) or has_map > 1 or (mapped and not has_map) or depth not in depths:
        return False
    if has_map and entry not in (15, 16, 24, 32):
        return False
    if not has_map and (first or length or entry):
        return False
    if not width or not height or descriptor & 0xC0 or descriptor & 0x0F > 8:
        return False
    start = 18 + identifier + (length * ((entry + 7) // 8) if has_map else 0)
    return len(content) >= start + (width * height * depth // 8 if kind < 8 else 1)
