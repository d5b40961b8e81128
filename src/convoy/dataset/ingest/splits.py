"""Which split a sample belongs to. Pure."""

import hashlib

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
    """Place a sample by a hash of its content.

    Copies of an image never sit on both sides, and a sample stays where it is when others are added.

    Args:
        digest: Hex digest of the content.
        validation_fraction: Share for validation, 0 to 1.
        test_fraction: Share for the test, 0 to 1.

    Returns:
        ``"train"``, ``"validation"`` or ``"test"``.
    """
    draw = _draw("split", digest)
    if draw < test_fraction:
        return "test"
    return "validation" if draw < test_fraction + validation_fraction else "train"


def kept(digest: str, fraction: float) -> bool:
    """Whether a sample is among a share of its class, by a hash of its content; a larger share keeps it too."""
    return fraction >= 1 or _draw("keep", digest) < fraction


def _draw(purpose: str, digest: str) -> float:
    """A number from 0 to less than 1, as if at random, of a content and what it is drawn for."""
    return int.from_bytes(hashlib.blake2b(f"{purpose}:{digest}".encode(), digest_size=8).digest(), "big") / 2**64


def fractions_for(given: set[str], validation_fraction: float, test_fraction: float) -> tuple[float, float]:
    """Return the (validation, test) shares to assign_split out of the training samples.

    Nothing is carved for a split that the source gives, and a test split only where it gives none at all.
    """
    validation = 0.0 if "validation" in given else validation_fraction
    return validation, (test_fraction if not given else 0.0)
