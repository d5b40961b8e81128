"""Assignment of samples to splits. Pure."""

import hashlib
from collections.abc import Collection

SPLITS = ("train", "validation", "test")

SPLIT_ALIASES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Folder names (lower case) that are read as splits."""


def assign_split(digest: str, validation_fraction: float, test_fraction: float) -> str:
    """Assign a sample to a split by a hash of its content.

    Copies of an image are always in the same split, and a sample keeps its split when others are added.

    Args:
        digest: Hex digest of the content.
        validation_fraction: Share of validation, 0 to 1.
        test_fraction: Share of the test split, 0 to 1.

    Returns:
        ``"train"``, ``"validation"`` or ``"test"``.
    """
    draw = _draw("split", digest)
    if draw < test_fraction:
        return "test"
    return "validation" if draw < test_fraction + validation_fraction else "train"


def kept(digest: str, fraction: float) -> bool:
    """Return whether a sample is in a share of its class, by a hash of its content; a larger share includes it too."""
    return fraction >= 1 or _draw("keep", digest) < fraction


def _draw(purpose: str, digest: str) -> float:
    """Return a pseudo-random number in [0, 1) for a content and a purpose."""
    return int.from_bytes(hashlib.blake2b(f"{purpose}:{digest}".encode(), digest_size=8).digest(), "big") / 2**64


def fractions_for(given: Collection[str], validation_fraction: float, test_fraction: float) -> tuple[float, float]:
    """Return the (validation, test) shares to split off from the training samples.

    Nothing is split off for a split that the source gives, and a test split only if the source gives no splits at all.
    """
    validation = 0.0 if "validation" in given else validation_fraction
    return validation, (test_fraction if not given else 0.0)
