"""Check of a split's Petastorm metadata against its files and the manifest."""

from collections.abc import Mapping

import numpy as np
from petastorm.unischema import Unischema

from convoy.dataset.petastorm.schema import read_petastorm_metadata
from convoy.dataset.storage.filesystem import Location
from convoy.images import ArraySpec


def metadata_problem(
    file: Location, columns: set[str] | None, row_groups: Mapping[str, int], spec: ArraySpec | None
) -> str | None:
    """Open ``_common_metadata`` as Petastorm does, and return what is wrong with it, or None.

    Args:
        file: The ``_common_metadata``.
        columns: Columns of the files; None if none could be read.
        row_groups: File name -> number of row groups.
        spec: Spec of the samples if they are stored as arrays, else None.
    """
    try:
        schema, groups = read_petastorm_metadata(file)
    except FileNotFoundError:
        return "is missing"
    except Exception as error:  # unpickling damaged data can raise any exception
        return f"is not Petastorm's metadata ({type(error).__name__}: {error})"
    if not isinstance(schema, Unischema):
        return f"holds a {type(schema).__name__} instead of a Unischema"
    if columns is not None and set(schema.fields) != columns:
        return f"describes {sorted(schema.fields)}, the files hold {sorted(columns)}"
    if spec is not None and "image" in schema.fields:
        image = schema.fields["image"]
        described = ArraySpec(tuple(image.shape), np.dtype(image.numpy_dtype).name)
        if described != spec:
            return f"describes samples of {described}, the manifest says {spec}"
    return None if groups == row_groups else "counts other row groups than the manifest"
