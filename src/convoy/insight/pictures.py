"""Pixels of the report: samples, overlays, maps of layers, and sheets of them. NumPy and Pillow; no axes."""

import functools
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from convoy.dataset.ingest.preview import draw_array

_SIDE = 160  # most pixels per side of a sample's picture
_OVERLAY = 112  # fewest pixels per side of an overlay
_HEAT_SHARE = 0.55  # of the colour in an overlay where the heat is 1
_CELL, _LARGEST_CELL, _GAP = 54, 70, 4  # of a map, in pixels
_FILTER = 84  # approximate pixels of a filter of the first layer
_MAPS = 12  # most maps of a layer that are drawn
_LINE = (176, 182, 190)
_BACKGROUND, _TEXT, _FAINT = (255, 255, 255), (32, 36, 42), (100, 108, 118)


def sample_picture(sample: np.ndarray, is_image: bool) -> np.ndarray:
    """Return a sample as pixels, uint8 (H, W, 3) of at most 160 per side.

    Args:
        sample: uint8 (H, W, 1 or 3) of an image; or an array, of which the first channel is shown in its own range:
            signals (L, C) as lines, the middle slice of volumes.
        is_image: Whether it is an image.
    """
    if is_image:
        picture = sample
    elif sample.ndim == 3:
        picture = shades(sample[..., :1].astype(np.float64))
    else:
        figure = Figure(figsize=(1.5, 1.1), dpi=100)
        axes = figure.add_axes((0.02, 0.02, 0.96, 0.96))
        axes.set(xticks=[], yticks=[])
        draw_array(axes, sample)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        picture = np.asarray(canvas.buffer_rgba())[..., :3]
    smaller = -(-max(picture.shape[:2]) // _SIDE)
    picture = picture[::smaller, ::smaller]
    return np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3)))


def shades(values: np.ndarray) -> np.ndarray:
    """Scale values from black (least) to white (largest), uint8 of the same shape; values that are not finite are 0."""
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    return np.round((values - low) * (255 / (high - low if high > low else 1))).astype(np.uint8)


def signed(values: np.ndarray) -> np.ndarray:
    """Return colours of values about 0: uint8 (..., 3), white at 0, red above, blue below, by magnitude."""
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    scaled = values / (np.abs(values).max() or 1.0)
    return _coloured(0.5 + 0.5 * scaled, "RdBu_r")


def overlay(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return a picture overlaid with heat.

    Args:
        picture: uint8 (H, W, 3).
        heat: float (h, w), 0 to 1.

    Returns:
        uint8 (H', W', 3), at least 112 per side.
    """
    larger = max(1, -(-_OVERLAY // min(picture.shape[:2])))
    grown = picture.repeat(larger, axis=0).repeat(larger, axis=1).astype(np.float32)
    height, width = grown.shape[:2]
    smooth = Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    values = np.clip(np.asarray(smooth), 0, 1)
    grey = grown.mean(axis=2, keepdims=True)  # the picture's own colours could be mistaken for heat
    share = _HEAT_SHARE * np.sqrt(values)[..., None]
    return np.round((1 - share) * grey + share * _coloured(values, "turbo")).astype(np.uint8)


def _coloured(values: np.ndarray, palette: str) -> np.ndarray:
    return (matplotlib.colormaps[palette](values)[..., :3] * 255).round().astype(np.uint8)


def filter_picture(weights: np.ndarray) -> np.ndarray:
    """Draw all filters of a first convolution, up to 96, side by side: uint8 (H, W, 3).

    Args:
        weights: (h, w, C, filters): with three channels in colour, each filter in its own range; else the filters of
            the first channel, red above 0, blue below, all in one range.
    """
    channels, count = weights.shape[2:]
    if channels == 3:
        cells = [shades(weights[..., i]) for i in range(min(96, count))]
    else:
        cells = list(np.moveaxis(signed(weights[:, :, 0, :96]), 2, 0))
    return grid([_grown(cell, _FILTER) for cell in cells], 10)


def map_row(values: np.ndarray, diverging: bool) -> np.ndarray:
    """Draw the first 12 maps of (h, w, n) side by side, all in one range: uint8 (H, W, 3)."""
    values = values[..., :_MAPS]
    colours = signed(values) if diverging else np.repeat(shades(values)[..., None], 3, axis=-1)
    return grid([_grown(colours[:, :, i]) for i in range(values.shape[2])], _MAPS)


def _grown(cell: np.ndarray, side: int = _CELL) -> np.ndarray:
    """Scale a map to about the given pixels per side: values become squares, or some are left out."""
    smaller = -(-max(cell.shape[:2]) // _LARGEST_CELL)
    cell = cell[::smaller, ::smaller]
    larger = max(1, round(side / max(cell.shape[:2])))
    return cell.repeat(larger, axis=0).repeat(larger, axis=1)


def grid(cells: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Arrange cells of equal size in rows, with a grey line around each."""
    height, width = cells[0].shape[:2]
    columns = min(columns, len(cells))
    rows = math.ceil(len(cells) / columns)
    found = np.full((rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), _BACKGROUND, np.uint8)
    for i, cell in enumerate(cells):
        y, x = _GAP + (i // columns) * (height + _GAP), _GAP + (i % columns) * (width + _GAP)
        found[y - 1 : y + height + 1, x - 1 : x + width + 1] = _LINE
        found[y : y + height, x : x + width] = cell
    return found


@dataclass(frozen=True)
class Card:
    """A sample with its description.

    Attributes:
        pictures: uint8 (H, W, 3) each: the sample, overlays.
        captions: A word for each picture.
        title: The true class and the predicted one.
        detail: Probabilities.
        path: Path of the sample in the source.
        right: Whether the prediction is right.
    """

    pictures: list[np.ndarray]
    captions: list[str]
    title: str
    detail: str
    path: str
    right: bool


def sheet(cards: Sequence[Card], columns: int = 6) -> np.ndarray:
    """Arrange cards in rows, as one picture: uint8 (H, W, 3)."""
    side = 120
    width = max(len(card.pictures) for card in cards) * (side + 8) + 12
    words = 14 if any(any(card.captions) for card in cards) else 0
    height = side + words + 62
    columns = min(columns, len(cards))
    page = Image.new("RGB", (columns * width, math.ceil(len(cards) / columns) * height), _BACKGROUND)
    draw = ImageDraw.Draw(page)
    for i, card in enumerate(cards):
        x, y = (i % columns) * width + 8, (i // columns) * height + 6
        for j, picture in enumerate(card.pictures):
            scale = side / max(picture.shape[:2])
            shown = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
            how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR
            page.paste(Image.fromarray(picture).resize(shown, how), (x + j * (side + 8), y))
            caption = _fitted(card.captions[j], 10, side, False)
            draw.text((x + j * (side + 8), y + side + 1), caption, _FAINT, _font(10))
        room = width - 16
        for line, (text, size) in enumerate([(card.title, 12), (card.detail, 10), (card.path, 10)]):
            colour = _TEXT if line == 0 else _FAINT
            draw.text((x, y + side + words + 4 + 16 * line), _fitted(text, size, room, line == 2), colour, _font(size))
    return np.asarray(page)


def labelled_rows(rows: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Arrange pictures below each other, each with a line of text above it: uint8 (H, W, 3)."""
    width = max(560, *(picture.shape[1] for _, picture in rows)) + 8
    page = Image.new("RGB", (width, sum(picture.shape[0] + 30 for _, picture in rows)), _BACKGROUND)
    draw, y = ImageDraw.Draw(page), 0
    for text, picture in rows:
        draw.text((4, y + 6), _fitted(text, 13, width - 8, False), _TEXT, _font(13))
        page.paste(Image.fromarray(picture), (4, y + 25))
        y += picture.shape[0] + 30
    return np.asarray(page)


def png(picture: np.ndarray) -> bytes:
    """Encode a picture as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def _fitted(text: str, size: int, room: int, keep_end: bool) -> str:
    """Shorten a line until it fits, at its beginning or at its end."""
    text = "".join(sign if sign.isprintable() else "?" for sign in text)[-400:]
    if _font(size).getlength(text) <= room:
        return text
    while text and _font(size).getlength(text + "…") > room:
        text = text[1:] if keep_end else text[:-1]
    return "…" + text if keep_end else text + "…"
