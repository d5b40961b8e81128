"""Checks of untrusted HDF5 files: links to other files, and contents that expand excessively, are rejected.

Keras has such checks since 3.15; earlier versions follow every link.
"""

import math
import zipfile
from typing import Any

import h5py

_ANY_SIZE = 1 << 32  # bytes up to which any size is accepted
_MOST_EXPANSION = 1000  # weights are not compressed by a larger factor


def check_links(group: Any, seen: set[int] | None = None) -> None:
    """Raise ``ValueError`` unless all groups and datasets of a file are in the file itself.

    Args:
        group: The file, or a group in it.
        seen: Addresses of the groups that were checked; links may be circular.

    Raises:
        ValueError: A group or dataset is in another file, or expands excessively.
    """
    seen = set() if seen is None else seen
    address = h5py.h5o.get_info(group.id).addr
    if address in seen:
        return
    seen.add(address)
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"not allowed: {name!r} is an {type(link).__name__}")
        item = group[name]
        if isinstance(item, h5py.Group):
            check_links(item, seen)
        elif isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise ValueError(f"not allowed: {name!r} has its values in another file")
            _check_size(name, math.prod(item.shape or ()) * item.dtype.itemsize, item.id.get_storage_size())


def check_member(archive: zipfile.ZipFile, name: str) -> None:
    """Raise ``ValueError`` if a member of an archive expands excessively.

    Raises:
        ValueError: The member expands excessively.
        KeyError: There is no such member.
    """
    member = archive.getinfo(name)
    _check_size(name, member.file_size, member.compress_size)


def _check_size(name: str, size: int, stored: int) -> None:
    if size > max(_ANY_SIZE, _MOST_EXPANSION * stored):
        raise ValueError(f"not allowed: {name!r} says it has {size:,} bytes, of which {stored:,} are there")
