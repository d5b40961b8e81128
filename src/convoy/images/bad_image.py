"""The exception for an unusable image, with its reason."""

REASONS = (
    *("empty", "not_an_image", "truncated", "corrupt", "too_large", "unsupported", "size", "channels"),
    "not_finite",
)
"""All reasons that this package uses."""


class BadImage(Exception):
    """An image is unusable.

    Attributes:
        reason: A short, fixed word for statistics, one of ``REASONS``.
        detail: What exactly was found.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail
