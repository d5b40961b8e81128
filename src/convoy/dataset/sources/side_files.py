"""Files and folders that systems and programs leave beside images: they are ignored wherever files are listed.

Every name that begins with a dot is one of them (``.DS_Store``, AppleDouble's ``._x.jpg``, ``.ipynb_checkpoints``).
"""

import re

_FOLDERS = {
    "__MACOSX": "__macosx",
    "@eaDir": "@eadir",  # Synology: thumbnails
    "@tmp": "@tmp",
    "@Recycle": "@recycle",  # QNAP
    "@Recently-Snapshot": "@recently-snapshot",
    "#recycle": "#recycle",
    "#snapshot": "#snapshot",
    "~snapshot": "~snapshot",
    "$RECYCLE.BIN": r"\$recycle\.bin",
    "RECYCLER": "recycle[rd]",
    "System Volume Information": "system volume information",
    "FOUND.000": r"found\.\d{3}",
    "lost+found": r"lost\+found",
    "Network Trash Folder": "network trash folder",
    "Temporary Items": "temporary items",
    "__pycache__": "__pycache__",
    "_vti_cnf": "_vti_(cnf|pvt)",
    "_temporary": "_temporary|_spark_metadata",
}
_FILES = {
    "Thumbs.db": r"(eh)?thumbs(_vista)?\.db([:.].*)?",
    "desktop.ini": r"desktop\.ini",
    "Icon": r"icon\r",
    "Picasa.ini": r"picasa\.ini",
    "ZbThumbnail.info": r"zbthumbnail\.info",
    "@SynoResource": ".*@syno(resource|eastream)",
    "Zone.Identifier": r".*zone\.identifier",
    "WS_FTP.LOG": r"ws_ftp\.log",
    "_SUCCESS": r"_success|_(committed|started)_\d+",
    "unfinished downloads": r".*\.(part|partial|filepart|crdownload|opdownload|download|aria2|tmp|_copying_)",
    "copies of editors": r".*~|~\$.*|.*\.(jpe?g|png|tiff?|webp)(_original|\.bak|\.orig)",
}
_PARTS = (
    *("\0.", "~", "thumbs", "desktop.ini", "icon\r", "picasa.ini", "zbthumbnail", "@syno", "zone.identifier", "ws_ftp"),
    *("_success", "_committed", "_started", ".part", ".filepart", "download", ".aria2", ".tmp", "_copying_"),
    *("_original", ".bak", ".orig"),
)
"""The name of a side file, after a NUL, has one of these: to search all names of a folder at once takes no time."""


def _kinds(names: dict[str, str]) -> dict[str, re.Pattern[str]]:
    return {kind: re.compile(pattern, re.IGNORECASE | re.DOTALL) for kind, pattern in names.items()}


_FOLDER_KINDS, _FILE_KINDS = _kinds(_FOLDERS), _kinds(_FILES)
_ANY_FOLDER = re.compile("|".join(_FOLDERS.values()), re.IGNORECASE | re.DOTALL)
_ANY_FILE = re.compile("|".join(_FILES.values()), re.IGNORECASE | re.DOTALL)
_INSIDE = {kind: pattern.replace(".*", "[^/]*") for kind, pattern in _FILES.items()}

SIDE_PATH = rf"(?i)(^|/)((\.[^/]*|{'|'.join(_FOLDERS.values())})/|(\.[^/]*|{'|'.join(_INSIDE.values())})(?![\s\S]))"
"""Regular expression, for Python and Java, that is found in a relative path of a side file or below a side folder."""


def is_side_folder(name: str) -> bool:
    """Return whether a folder of that name belongs to a system or program, not to the images."""
    return name.startswith(".") or _ANY_FOLDER.fullmatch(name) is not None


def is_side_file(name: str) -> bool:
    """Return whether a file of that name belongs to a system or program, whatever its content is."""
    return name.startswith(".") or _ANY_FILE.fullmatch(name) is not None


def without_side_files(names: list[str]) -> list[str]:
    """Return the names of files, without those of side files."""
    joined = "\0".join(["", *names]).lower()
    return [name for name in names if not is_side_file(name)] if any(part in joined for part in _PARTS) else names


def kind_of(name: str, folder: bool = False) -> str:
    """Return what a side file or folder is called in messages, e.g. ``"Thumbs.db"`` or ``"@eaDir/"``."""
    if name.startswith("."):
        kind = "._*" if name.startswith("._") else name if name == ".DS_Store" else ".*"
    else:
        kinds = _FOLDER_KINDS if folder else _FILE_KINDS
        kind = next((kind for kind, pattern in kinds.items() if pattern.fullmatch(name)), name)
    return f"{kind}/" if folder else kind
