"""Search for the first sample of a split that has values which no network can compute with."""

import time

import numpy as np

from convoy.dataset.reading.split_files import SplitFiles
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest


def first_not_finite(version_path: Location, manifest: Manifest, split: str, seconds: float = 60) -> str | None:
    """Return the path of the first sample that has NaN, infinity or a float32 overflow in its values or its weight.

    Ingest quarantines such samples, so these come from files that another program has written. Samples of integer types
    are not read.

    Args:
        version_path: Folder of the version.
        manifest: Manifest of the version.
        split: Name of the split.
        seconds: Time limit of the search; the rest of a split that takes longer is not read.

    Raises:
        DatasetError: There is no such split, or a file is damaged.
    """
    files, until = SplitFiles(version_path, manifest, split), time.monotonic() + seconds
    floating = np.dtype(manifest.dtype).kind == "f"
    if not (floating or manifest.weighted):
        return None
    weights = files.targets()[1]
    for group in files.groups:
        if time.monotonic() > until:
            return None
        finite = np.ones(group.rows, bool)
        if weights is not None:
            finite &= np.isfinite(weights[group.first : group.first + group.rows])
        if floating:
            with np.errstate(over="ignore"):  # values that become infinite are what the search looks for
                values = files.raw_images(group).astype(np.float32, copy=False)
            finite &= np.isfinite(values).reshape(group.rows, -1).all(axis=1)
        if not finite.all():
            names = files.table(group, ["path"]).column("path")
            return str(names[int(np.argmin(finite))])
    return None
