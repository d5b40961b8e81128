"""The range of values that becomes 0 to 255, for images with more than 8 bits: ``dataset.image.value_range``."""

from collections.abc import Mapping, Sequence

from convoy.console import say
from convoy.images import ValueRange, range_of_dataset

_FULL = (0.0, 65535.0)
FIELD = "dataset.image.value_range"


def chosen_range(setting: str | Sequence[float], extremes: Mapping[str, tuple[float, float, int]]) -> ValueRange:
    """Return the rule for a dataset, and print it if it is derived from the values.

    Args:
        setting: ``auto``, ``dtype`` or [low, high].
        extremes: ``integers`` | ``floats`` -> (smallest value, largest value, images), of the images that do not state
            a range; with ``auto`` the rule is derived from them.
    """
    if setting != "auto":
        return ValueRange.from_setting(setting)
    ranges = {}
    for kind, (low, high, count) in sorted(extremes.items()):
        found, why = range_of_dataset(kind, low, high)
        say(
            f"ingest: {count:,} images have {kind} from {low:g} to {high:g} and do not state their range:"
            f" {found[0]:g} to {found[1]:g} become 0 to 255 ({why}); {FIELD} sets another range"
        )
        if kind == "floats" or found != _FULL:  # else the upper 8 of 16 bits, as without any rule
            ranges[kind] = found
    return ValueRange("auto", **ranges)
