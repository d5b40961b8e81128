"""Section ``training.augmentation``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from convoy.config.validation import require
from convoy.errors import ConfigError

FlipMode = Literal["none", "horizontal", "vertical", "both"]


@dataclass(frozen=True)
class AugmentationConfig:
    """Random changes of training images, different in each epoch; all of them are off by default."""

    flip: FlipMode = "none"
    """Flip with probability 1/2: left to right (`horizontal`), top to bottom (`vertical`), or each (`both`)."""
    crop: int = 0
    """Pixels of black padding at each side; a window of the image's size is then cropped at random."""
    rotation: float = 0.0
    """Largest angle in degrees: images are rotated by a random angle in both directions; the outside is black."""
    brightness: float = 0.0
    """Share of the range 0 to 255: up to this much is added to, or subtracted from, all pixels."""
    mixup: float = 0.0
    """Alpha of mixup: image and label are averaged with another sample's, weighted by Beta(alpha, alpha)."""
    cutout: int = 0
    """Side in pixels of a square that is replaced by the training split's mean colour."""

    def __post_init__(self) -> None:
        require(self.crop >= 0, "training.augmentation.crop", self.crop, "0 (off) or more pixels")
        require(0 <= self.rotation <= 180, "training.augmentation.rotation", self.rotation, "0 (off) to 180 degrees")
        require(0 <= self.brightness <= 1, "training.augmentation.brightness", self.brightness, "0 (off) to 1")
        require(0 <= self.mixup <= 100, "training.augmentation.mixup", self.mixup, "0 (off) to 100; usually 0.1 to 1")
        require(self.cutout >= 0, "training.augmentation.cutout", self.cutout, "0 (off) or more pixels")

    @property
    def enabled(self) -> bool:
        """Return whether any augmentation is on."""
        return self != AugmentationConfig()

    def check_fits(self, shape: Sequence[int], dtype: str) -> None:
        """Raise ``ConfigError`` unless samples of this shape and NumPy dtype can be augmented as configured.

        Args:
            shape: Shape of one sample; images are (H, W, C).
            dtype: NumPy's name of the values' type; images are ``uint8``.
        """
        if not self.enabled:
            return
        if len(shape) != 3 or dtype != "uint8":
            raise ConfigError(
                f"training.augmentation is for images, uint8 (height, width, channels); the samples are {dtype}"
                f" {tuple(shape)}; leave the section out"
            )
        height, width = shape[:2]
        size = f"{height}x{width}"
        shorter = min(height, width)
        require(
            self.crop < shorter, "training.augmentation.crop", self.crop, f"less than {shorter}: the images are {size}"
        )
        require(
            self.cutout <= shorter,
            "training.augmentation.cutout",
            self.cutout,
            f"at most {shorter}: the images are {size}",
        )
