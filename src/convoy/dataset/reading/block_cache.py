"""A bounded cache of parts of objects on the local disk, shared by all processes of a user on a machine.

Ranks on one machine read the same row groups, and read them again in every epoch. An entry is a file, written under
another name and renamed; a checksum at its end reveals damage. The entries that were not used for longest are removed.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
import uuid
import zlib
from pathlib import Path

MOST_BYTES = 10 << 30
_OF_FREE = 0.5  # most of the free space of the disk
_CHECKSUM = 4
_SUFFIX = ".block"


class BlockCache:
    """The cache.

    Args:
        folder: Its folder; None for one of this user in the folder for temporary files.
        most: Its size in bytes; it is smaller on a disk that has less than twice as much free.
    """

    def __init__(self, folder: Path | None = None, most: int = MOST_BYTES) -> None:
        self._folder = folder or Path(tempfile.gettempdir()) / f"convoy-cache-{os.getuid()}"
        self._most = most
        self._written = 0
        self._usable = self._prepare()

    def get(self, key: str, size: int) -> bytes | None:
        """Return an entry of that many bytes; None if there is none, or it is damaged."""
        if not self._usable:
            return None
        file = self._file(key)
        try:
            content = file.read_bytes()
            os.utime(file)
        except OSError:
            return None
        if len(content) != size + _CHECKSUM or zlib.crc32(content[:-_CHECKSUM]) != _number(content[-_CHECKSUM:]):
            file.unlink(missing_ok=True)
            return None
        return content[:-_CHECKSUM]

    def put(self, key: str, content: bytes) -> None:
        """Add an entry, and remove old ones; nothing is added if the disk is full."""
        if not self._usable or len(content) > self._most:
            return
        draft = self._folder / f".{uuid.uuid4().hex}"
        try:
            with open(draft, "wb") as file:
                file.write(content)
                file.write(zlib.crc32(content).to_bytes(_CHECKSUM, "little"))
            os.replace(draft, self._file(key))
        except OSError:
            draft.unlink(missing_ok=True)
            return
        self._written += len(content)
        if self._written > self._most // 16:  # other processes write, too: look from time to time
            self._written = 0
            self._shrink()

    def _file(self, key: str) -> Path:
        return self._folder / f"{hashlib.blake2b(key.encode(), digest_size=20).hexdigest()}{_SUFFIX}"

    def _prepare(self) -> bool:
        """Create the folder; return whether it is this user's, and only theirs."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self._folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
                return False
            self._shrink()
        except OSError:
            return False
        return True

    def _shrink(self) -> None:
        entries = []
        with os.scandir(self._folder) as found:
            for entry in found:
                with contextlib.suppress(FileNotFoundError):  # another process has removed it
                    status = entry.stat()
                    entries.append((status.st_mtime_ns, status.st_size, entry.path))
        total = sum(size for _, size, _ in entries)
        most = min(self._most, int(_OF_FREE * (shutil.disk_usage(self._folder).free + total)))
        for _, size, path in sorted(entries):
            if total <= most:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= size


def _number(content: bytes) -> int:
    return int.from_bytes(content, "little")
