"""Proposal of a geometry from a sample of images."""

from collections.abc import Iterable
from statistics import median

from convoy.images.bad_image import BadImage
from convoy.images.geometry import Geometry
from convoy.images.header import ImageInfo

_STEP, _LEAST, _MOST = 32, 32, 512
_SAME_SHAPE = 1.2  # largest ratio of aspect ratios for which stretching is acceptable


def propose(infos: Iterable[ImageInfo]) -> tuple[Geometry, str]:
    """Propose a geometry from a sample of images.

    If all images have one size, it is kept. Otherwise the size is the median height and width, rounded to multiples of
    32 between 32 and 512; images are stretched if they have about the same aspect ratio, else padded (``letterbox``).

    Returns:
        The geometry, and a one-line reason.

    Raises:
        BadImage: ``empty``, if there is no image.
    """
    sample = list(infos)
    if not sample:
        raise BadImage("empty", "no image to propose a geometry from")
    grey = all(info.channels == 1 for info in sample)
    channels, colours = (1, "all grey") if grey else (3, "colour")
    of = f"of {len(sample):,} images, {colours}:"
    sizes = {(info.height, info.width) for info in sample}
    if len(sizes) == 1:
        height, width = sizes.pop()
        return Geometry(height, width, channels, "none"), f"{of} every one is {height}x{width} (height x width)"
    middle = (median(info.height for info in sample), median(info.width for info in sample))
    height, width = (min(_MOST, max(_LEAST, round(side / _STEP) * _STEP)) for side in middle)
    ratios = [info.width / info.height for info in sample]
    spread = max(ratios) / min(ratios)
    resize = "stretch" if spread <= _SAME_SHAPE else "letterbox"
    reason = (
        f"{of} the median size is {middle[0]:g}x{middle[1]:g} (height x width), rounded to {height}x{width}; "
        f"aspect ratios are {min(ratios):.2f} to {max(ratios):.2f}, so {resize}"
    )
    return Geometry(height, width, channels, resize), reason
