"""Deterministic pictures that cost a JPEG decoder what photographs cost it; drawn, so that nobody has to download any.

Smooth random fields whose strength falls with frequency, as in natural scenes; shapes with sharp edges; texture in some
regions; sensor noise. A picture of 400x533 takes about 45 kB at quality 90, one of 12 megapixels about 3.3 MB.
"""

import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

CLASSES = 10
QUALITY = 90
_FINEST = 1000  # larger pictures are enlarged from this width, as a lens blurs them, and get their noise afterwards


def photograph(seed: int, height: int, width: int) -> Image.Image:
    """Draw the picture of a seed, of about this size: each side differs by up to 8 %."""
    generator = np.random.default_rng([20, seed])
    height, width = (round(side * generator.uniform(0.92, 1.08)) for side in (height, width))
    shrink = max(1.0, width / _FINEST)
    h, w = round(height / shrink), round(width / shrink)
    light = _field(generator, h, w, finest=128)
    colour = np.stack([_field(generator, h, w, finest=16) for _ in range(3)], axis=-1)
    texture = generator.normal(0, 14, (h, w)) * np.clip(_field(generator, h, w, finest=8), 0, 1)
    scene = generator.uniform(90, 150) + 42 * light[..., None] + 18 * colour + texture[..., None]
    image = Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8))
    for _ in range(int(generator.integers(6, 16))):
        image = _with_shape(generator, image)
    image = image.filter(ImageFilter.GaussianBlur(0.5)).resize((width, height), Image.Resampling.BICUBIC)
    noise = generator.standard_normal((height, width), np.float32)[..., None] * (2.5 if shrink == 1 else 6)
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def _field(generator: np.random.Generator, height: int, width: int, finest: int) -> np.ndarray:
    """A smooth random field (height, width) of about unit variance: octaves of halving strength."""
    total = np.zeros((height, width), np.float32)
    cells, strength = 2, 1.0
    while cells <= finest:
        grid = generator.standard_normal((cells, cells + 1), np.float32)
        total += strength * np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))
        cells, strength = cells * 2, strength * 0.6
    return total / 1.2


def _with_shape(generator: np.random.Generator, image: Image.Image) -> Image.Image:
    """Lay a half-transparent polygon or ellipse over the image."""
    width, height = image.size
    mask = Image.new("L", image.size, 0)
    points = generator.uniform(-0.1, 1.1, (int(generator.integers(2, 6)), 2)) * (width, height)
    fill = int(generator.integers(60, 220))
    if len(points) == 2:
        (left, top), (right, bottom) = np.sort(points, axis=0)
        ImageDraw.Draw(mask).ellipse((left, top, right, bottom), fill=fill)
    else:
        ImageDraw.Draw(mask).polygon([tuple(point) for point in points.tolist()], fill=fill)
    colour = tuple(generator.integers(0, 256, 3).tolist())
    return Image.composite(Image.new("RGB", image.size, colour), image, mask)


def draw_folder(folder: Path, count: int, height: int, width: int) -> Path:
    """Draw ``count`` JPEGs as ``<folder>/<class>/<n>.jpg``, once: a folder that is there is complete."""
    if folder.exists():
        return folder
    draft = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    for label in range(CLASSES):
        (draft / f"class_{label}").mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        for _ in pool.map(_draw_file, [(draft, i, height, width) for i in range(count)], chunksize=8):
            pass
    draft.rename(folder)
    return folder


def _draw_file(task: tuple[Path, int, int, int]) -> None:
    draft, number, height, width = task
    path = draft / f"class_{number % CLASSES}" / f"{number:05d}.jpg"
    photograph(number, height, width).save(path, "JPEG", quality=QUALITY)
