"""What every peer does with an image: OpenCV, as the recipes in their documentation do. Needs nothing of Convoy."""

import os
from collections.abc import Sequence

import cv2
import numpy as np


def labelled_paths(root: str) -> list[tuple[str, int]]:
    """(path, label) of every ``<root>/<class>/<image>``."""
    classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    return [
        (os.path.join(root, name, file), label)
        for label, name in enumerate(classes)
        for file in sorted(os.listdir(os.path.join(root, name)))
    ]


def load(path: str, shape: Sequence[int]) -> np.ndarray:
    """Read, decode and stretch an image to uint8 (height, width, channels), grey or RGB."""
    height, width, channels = shape
    image = cv2.imread(path, cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR)
    if image.shape[:2] != (height, width):
        image = cv2.resize(image, (width, height))
    return image[:, :, None] if channels == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
