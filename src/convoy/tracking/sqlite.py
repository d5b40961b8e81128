"""Stores in a SQLite file."""

import os
from pathlib import Path

from convoy.config.locations import local_database

SQLITE = "sqlite:///"


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite store, or None for other stores."""
    if not uri.startswith(SQLITE):
        return None
    return Path(os.path.expanduser(local_database("tracking.uri", uri).removeprefix(SQLITE)))


def absolute(uri: str) -> str:
    """Make the path of a SQLite file absolute: MLflow keeps one open store per URI, even if the directory changes."""
    file = sqlite_file(uri)
    return uri if file is None else f"{SQLITE}{file.absolute()}"
