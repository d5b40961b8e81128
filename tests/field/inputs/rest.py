"""Image files as clients write them into JSON and text columns."""

import base64
from urllib.parse import quote

from tests.conftest import encoded, noise


def files(count=4, height=8, width=6):
    """Small PNG files whose base64 has the signs + and / in it."""
    found, seed = [], 0
    while len(found) < count:
        content = encoded(noise(height, width, 3, seed=seed))
        text = base64.b64encode(content).decode()
        found += [content] * ("+" in text and "/" in text and text.endswith("="))
        seed += 1
    return found


def standard(content):
    return base64.b64encode(content).decode()


def lines(content):
    """As ``base64`` and MIME write it."""
    return base64.encodebytes(content).decode()


def unpadded(content):
    return standard(content).rstrip("=")


def url_safe(content):
    return base64.urlsafe_b64encode(content).decode()


def url_safe_unpadded(content):
    """As JSON Web Tokens and many web clients write it."""
    return url_safe(content).rstrip("=")


def data_uri(content):
    """As a browser's ``canvas.toDataURL()`` writes it."""
    return f"data:image/png;base64,{standard(content)}"


def data_uri_quoted(content):
    """With the signs + / = as in a URL."""
    return f"DATA:image/png;charset=utf-8;base64,{quote(standard(content), safe='')}"


def data_uri_plain(content):
    """RFC 2397 without base64."""
    return f"data:image/png,{quote(content)}"


FORMS = [standard, lines, unpadded, url_safe, url_safe_unpadded, data_uri, data_uri_quoted, data_uri_plain]
