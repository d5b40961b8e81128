"""Images as text: base64 as JSON carries it, and data URIs."""

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from convoy.images.bad_image import BadImage
from convoy.images.recognise import kind_of

_ALPHABET = re.compile(r"[A-Za-z0-9+/_\-\s]+=*\s*")
_SHORTEST = 40  # characters: no image is smaller, and most paths are shorter or have a dot
_URI, _MARK = "data:", ";base64"
_START = 64  # characters from which the type of a file is detected
_SHOWN = 40


def decode_text(text: str) -> bytes:
    """Return the bytes of an image file that is given as text.

    Args:
        text: Base64 in the standard or the URL-safe alphabet, with or without padding and line breaks, or a data URI
            (RFC 2397), e.g. ``data:image/png;base64,iVBO...``.

    Raises:
        BadImage: ``empty``, or ``not_an_image`` for any other text.
    """
    if not text.strip():
        raise BadImage("empty", "the text is empty")
    if not _is_uri(text):
        return _decode(text, text)
    media, comma, data = text.strip().partition(",")
    if not comma:
        raise BadImage("not_an_image", f"a data URI without a comma before its data: {_shown(text)}")
    content = unquote_to_bytes(data)
    return _decode(content.decode("latin-1"), text) if media.rstrip().lower().endswith(_MARK) else content


def is_image_text(text: str) -> bool:
    """Return whether a text is a data URI, or base64 whose first bytes are those of a known type of image.

    A path is neither: base64 has no dots, and the beginning of a file's bytes is checked.
    """
    if _is_uri(text):
        return True
    if len(text) < _SHORTEST:
        return False
    start = "".join(text[:_START].split())
    try:
        kind_of(_decode(start[: len(start) // 4 * 4], text))
    except BadImage:
        return False
    return is_base64(text)


def is_base64(text: str) -> bool:
    """Return whether a text is long enough for an image, and has only characters of base64."""
    return len(text) >= _SHORTEST and _ALPHABET.fullmatch(text) is not None


def _is_uri(text: str) -> bool:
    return text.lstrip()[: len(_URI)].lower() == _URI


def _decode(text: str, given: str) -> bytes:
    plain = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadImage("not_an_image", f"neither base64 nor a data URI: {_shown(given)}") from None


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
