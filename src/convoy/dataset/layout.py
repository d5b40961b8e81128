"""How many files and row groups a split gets. Pure arithmetic.

It depends on the data alone, never on the cluster, so that the same input gives the same files anywhere.
"""

import math
from dataclasses import dataclass

MIB = 1 << 20
MIN_ROWS_PER_GROUP = 256
GROUPS_FOR_PARALLEL_READING = 8
FILE_MIB = 64


@dataclass(frozen=True)
class Layout:
    """Layout of one split.

    Attributes:
        rows: Samples.
        rows_per_group: Samples in every row group but the last of a file.
        rows_per_file: Samples in every file but the last; a multiple of ``rows_per_group``.
        files: Number of files.
    """

    rows: int
    rows_per_group: int
    rows_per_file: int
    files: int


def lay_out(rows: int, row_bytes: int, row_group_mb: float) -> Layout:
    """Choose the sizes of row groups and files.

    Row groups are near the target size, but there are at least eight of them (of 256 rows or more) so that several
    readers have work. Files are of about 64 MiB, and up to four of them are made of less, so that writing is parallel.

    Args:
        rows: Samples in the split; at least 1.
        row_bytes: Bytes of one stored image.
        row_group_mb: Target size of a row group, in MiB.

    Returns:
        The layout; row groups have equal sizes up to rounding.
    """
    by_size = math.ceil(rows * row_bytes / (row_group_mb * MIB))
    groups = max(1, by_size, min(GROUPS_FOR_PARALLEL_READING, rows // MIN_ROWS_PER_GROUP))
    rows_per_group = math.ceil(rows / groups)
    groups = math.ceil(rows / rows_per_group)
    files = max(min(4, groups), math.ceil(rows * row_bytes / (FILE_MIB * MIB)), 1)
    rows_per_file = math.ceil(groups / files) * rows_per_group
    return Layout(rows, rows_per_group, rows_per_file, math.ceil(rows / rows_per_file))
