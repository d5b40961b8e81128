"""The exception for an unusable image, with its reason, and the notes on images that are used nevertheless."""

REASONS = (
    *("empty", "not_an_image", "truncated", "corrupt", "too_large", "unsupported", "size", "channels"),
    "not_finite",
)
"""All reasons that this package uses."""

REPAIRS = {
    "stray_bytes": "bytes between the markers of a JPEG were skipped",
    "bad_segment": "a damaged profile or comment of a JPEG was ignored",
    "bad_chunk": "a chunk of a PNG that does not hold pixels has a wrong checksum and was ignored",
}
"""Notes on damage outside of the pixels: the image is used without the damaged part."""

OBSERVATIONS = {
    "alpha_not_opaque": (
        "their alpha channel has no opaque pixel, which makes them dark; if it is a band like infrared, not opacity,"
        " save the images without it, or all bands as arrays (source.kind arrays)"
    ),
    "bands_unused": (
        "they have bands beside red, green and blue that are not used; to use them, save arrays (source.kind arrays)"
    ),
}
"""Notes on images whose pixels may not be what was intended."""


class BadImage(Exception):
    """An image is unusable.

    Attributes:
        reason: A short, fixed word for statistics, one of ``REASONS``.
        detail: What exactly was found.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def first_line(error: Exception) -> str:
    """Return the first line of an exception's text, or the name of its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
