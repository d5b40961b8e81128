"""Stores that are a SQLite file."""

import os
from pathlib import Path

SQLITE = "sqlite:///"


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite store; None for other stores."""
    return Path(os.path.expanduser(uri[len(SQLITE) :])) if uri.startswith(SQLITE) else None


def absolute(uri: str) -> str:
    """Name a SQLite file from the root: MLflow keeps one open store per URI, whatever the directory is by then."""
    file = sqlite_file(uri)
    return uri if file is None else f"{SQLITE}{file.absolute()}"
