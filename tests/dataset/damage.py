"""Damage some images of a folder, in six ways, each with the reason for which ingest has to quarantine them.

    python tests/dataset/damage.py FOLDER --seed 0 --count 60    # a copy: the files are overwritten

prints one line of JSON, {path: reason}; the reasons are those of docs/datasets.md. Nothing of Convoy is imported.
"""

import argparse
import json
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

SUFFIXES = {".jpg", ".jpeg", ".png"}


def emptied(content: bytes, draw: random.Random) -> bytes:
    """A download that never began."""
    return b""


def cut(content: bytes, draw: random.Random) -> bytes:
    """A copy that was interrupted: anywhere, in the header too, but after what says what kind of file it is."""
    return content[: draw.randrange(8, len(content) - 2)]


def replaced_by_text(content: bytes, draw: random.Random) -> bytes:
    """A web page, document or list under an image's name."""
    start = draw.choice([b"<!DOCTYPE html><html>404 not found", b"%PDF-1.7\n", "große Liste;".encode()])
    return start + draw.randbytes(200).hex().encode()


def corrupted(content: bytes, draw: random.Random) -> bytes:
    """Bytes overwritten in the middle, where every strict decoder has to notice: a JPEG has no checksums."""
    damaged = bytearray(content)
    if content.startswith(b"\x89PNG"):
        data = content.index(b"IDAT") + 4
        damaged[draw.randrange(data, data + int.from_bytes(content[data - 8 : data - 4], "big"))] ^= 0x55
        return bytes(damaged)
    if draw.random() < 0.5:  # a Huffman table that no code fits
        table = content.index(b"\xff\xc4") + 5
        damaged[table : table + 16] = b"\xff" * 16
    else:  # restart markers where the pixels should be
        data = content.index(b"\xff\xda") + 14
        middle = (data + len(content)) // 2
        damaged[middle : middle + 16] = b"\xff\xd3" * 8
    return bytes(damaged)


def bomb(content: bytes, draw: random.Random) -> bytes:
    """A file of some hundred bytes that claims to have 50,000 x 50,000 pixels or more."""
    if content.startswith(b"\x89PNG"):
        side = draw.randrange(50_000, 60_000)
        header = struct.pack(">II", side, side) + content[24:29]
        checksum = struct.pack(">I", zlib.crc32(b"IHDR" + header))
        return content[:16] + header + checksum + content[33:]
    frame = min(at for marker in (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2") if (at := content.find(marker)) >= 0)
    return content[: frame + 5] + struct.pack(">HH", 50_000, draw.randrange(50_000, 60_000)) + content[frame + 9 :]


def broken_link(path: Path, draw: random.Random) -> None:
    """A link to what is not there: nobody may read it, root neither."""
    path.unlink()
    path.symlink_to(f"/nonexistent/{draw.randrange(10**6)}.jpg")


WAYS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "empty": emptied,
    "truncated": cut,
    "not_an_image": replaced_by_text,
    "corrupt": corrupted,
    "too_large": bomb,
}
REASONS = (*WAYS, "unreadable")


def damage(folder: Path, count: int = 60, seed: int = 0) -> dict[str, str]:
    """Damage ``count`` images below a folder, as many in each of the six ways.

    Returns:
        Path within the folder -> reason.
    """
    images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if len(images) < count:
        raise ValueError(f"{folder} has {len(images)} images; expected {count} or more")
    draw, expected = random.Random(seed), {}
    for number, path in enumerate(draw.sample(images, count)):
        reason = REASONS[number % len(REASONS)]
        if reason == "unreadable":
            broken_link(path, draw)
        else:
            content = WAYS[reason](path.read_bytes(), draw)
            path.unlink()  # and not overwritten: it may be a hard link to what is precious
            path.write_bytes(content)
        expected[os.path.relpath(path, folder)] = reason
    return expected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=60)
    arguments = parser.parse_args()
    print(json.dumps(damage(arguments.folder, arguments.count, arguments.seed)))


if __name__ == "__main__":
    main()
