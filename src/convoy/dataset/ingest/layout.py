"""Number of files and row groups of each split, and the assignment of samples to files. Pure arithmetic.

The layout depends on the data alone, never on the cluster, so the same input gives the same files anywhere.
"""

import math
from dataclasses import dataclass

MIB = 1 << 20
MIN_ROWS_PER_GROUP = 256
GROUPS_FOR_PARALLEL_READING = 8
FILE_MIB = 64
SOURCE_MIB = 256
"""Source bytes that one task decodes at most: large images take time to decode even if they are stored small."""


@dataclass(frozen=True)
class Layout:
    """Layout of one split.

    Attributes:
        rows: Samples.
        rows_per_group: Samples in every row group except the last one of a file.
        files: Number of files; each gets the samples whose keys fall into its share of all keys.
    """

    rows: int
    rows_per_group: int
    files: int


def lay_out(rows: int, row_bytes: int, row_group_mb: float, source_bytes: int = 0) -> Layout:
    """Choose the sizes of row groups and files.

    Row groups are near the target size, but there are at least eight of them (of 256 rows or more) so that several
    readers have work. A file holds about 64 MiB or the result of 256 MiB of source files. Smaller splits are divided
    into up to four files, so that they are written in parallel. Samples are assigned to files at random (their keys
    are hashes), so a file has rows / files of them plus or minus a few square roots; row groups have room for four.

    Args:
        rows: Samples in the split; at least 1.
        row_bytes: Bytes of one stored image.
        row_group_mb: Target size of a row group, in MiB.
        source_bytes: Size of all the samples in the source.
    """
    at_most = max(1, int(row_group_mb * MIB / row_bytes))
    groups = max(math.ceil(rows / at_most), min(GROUPS_FOR_PARALLEL_READING, rows // MIN_ROWS_PER_GROUP), 1)
    by_size = max(math.ceil(rows * row_bytes / (FILE_MIB * MIB)), math.ceil(source_bytes / (SOURCE_MIB * MIB)))
    files = min(max(min(4, groups), by_size), rows)
    per_file = rows / files + (4 * math.sqrt(rows / files) if files > 1 else 0)
    groups_per_file = max(math.ceil(per_file / at_most), math.ceil(groups / files))
    return Layout(rows, math.ceil(per_file / groups_per_file), files)


def partition_keys(partitions: int) -> list[int]:
    """Return for each partition a number that Spark's hash partitioner sends to it.

    Hashing the partition numbers would send several to one partition and none to others. The partitioner takes
    Murmur3 (x86, 32 bits, seed 42) of the column modulo the number of partitions. If Spark changed that, work would be
    distributed less evenly; results would be the same.
    """
    found: dict[int, int] = {}
    candidate = 0
    while len(found) < partitions:
        found.setdefault(murmur3(candidate) % partitions, candidate)
        candidate += 1
    return [found[partition] for partition in range(partitions)]


def murmur3(value: int, seed: int = 42) -> int:
    """Return MurmurHash3 (x86, 32 bits) of a non-negative 32-bit integer, as a signed number, like Spark's ``hash``.

    https://github.com/aappleby/smhasher/blob/master/src/MurmurHash3.cpp
    """
    mask = 0xFFFFFFFF

    def rotated(x: int, by: int) -> int:
        return (x << by | x >> 32 - by) & mask

    k = rotated(value * 0xCC9E2D51 & mask, 15) * 0x1B873593 & mask
    h = (rotated(seed ^ k, 13) * 5 + 0xE6546B64) & mask
    h ^= 4
    h = (h ^ h >> 16) * 0x85EBCA6B & mask
    h = (h ^ h >> 13) * 0xC2B2AE35 & mask
    h ^= h >> 16
    return h - (1 << 32) if h >> 31 else h
