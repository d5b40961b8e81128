"""Redaction of what must not be logged: values with secret names, credentials in URLs, environment variables."""

import os
import re

BLANK = "(redacted)"
_NAMES = r"secret|password|passwd|token|credential|authorization|(?:access|api|private)[._-]?key"
_SECRET = re.compile(_NAMES, re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_ASSIGNED = re.compile(rf"([\w.-]*(?:{_NAMES})[\w.-]*[\"']?[ \t]*[:=][ \t]*)\S[^\n]*", re.IGNORECASE)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_SHORTEST = 8  # characters of an environment variable's value: shorter ones ("true", "0") occur everywhere


def without_secrets(name: str, value: str) -> str:
    """Blank out a value whose name marks it as secret (as Spark's UI does), and credentials in URLs."""
    return BLANK if _SECRET.search(name) and value not in ("None", "") else _USERINFO.sub("", value)


def text_without_secrets(text: str) -> str:
    """Blank out everything that looks secret in an arbitrary text, e.g. a diff; rather too much than too little.

    That is: private keys, values assigned to a name that marks them as secret, credentials in URLs, and the
    values of environment variables with such names.
    """
    text = without_environment(_PRIVATE_KEY.sub(BLANK, text))
    return _USERINFO.sub("", _ASSIGNED.sub(rf"\1{BLANK}", text))


def without_environment(text: str) -> str:
    """Blank out the values of environment variables whose names mark them as secret."""
    hidden = {value for name, value in os.environ.items() if _SECRET.search(name) and len(value) >= _SHORTEST}
    for value in sorted(hidden, key=len, reverse=True):
        text = text.replace(value, BLANK)
    return text
