"""What is said of an image that cannot be used."""

REASONS = (
    *("empty", "not_an_image", "truncated", "corrupt", "too_large", "unsupported", "size", "channels"),
    "not_finite",
)
"""Every reason that this package gives."""


class BadImage(Exception):
    """An image that cannot be used.

    Attributes:
        reason: A short, fixed word for counting, one of ``REASONS``.
        detail: What exactly was found.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail
