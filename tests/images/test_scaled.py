"""JPEGs decoded at a reduced scale are close to full decode and antialiased scaling, by every policy and filter.

The tolerance, on two photographs full of detail and their mirror images: 3 grey levels in the mean and 33 dB, where a
JPEG is only just large enough for its scale; most often half of that. (Bilinear scaling without antialiasing, as OpenCV
does by default, is 30 to 22 dB away.)
"""

import io

import numpy as np
import pytest
from PIL import Image

from convoy.images import Geometry, prepare
from convoy.images.prepare import _eighths
from tests.conftest import encoded
from tests.images.support import photographs

FILES = [encoded(image[:400, :533], "JPEG", quality=85) for image in photographs(4)]


def full(file, geometry):
    """Pillow's full decode, then the same scaling of pixels."""
    return prepare(np.asarray(Image.open(io.BytesIO(file))), geometry)


def difference(geometry, files=FILES):
    """(mean of absolute differences, peak signal-to-noise ratio in dB)."""
    off = np.stack([prepare(file, geometry).astype(float) - full(file, geometry) for file in files])
    return np.abs(off).mean(), 10 * np.log10(255**2 / max(np.square(off).mean(), 1e-9))


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "center_crop"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos", "area"])
@pytest.mark.parametrize("side", [235, 228, 224, 200, 160, 112, 57, 32])
def test_a_reduced_scale_is_close_to_a_full_decode(side, interpolation, resize):
    geometry = Geometry(side, side, 3, resize, interpolation)
    if interpolation != "area" or side <= 112:
        assert _eighths(400, 533, geometry) < 8
    mean, decibel = difference(geometry)
    assert mean < 3
    assert decibel > 33


def test_sizes_that_do_not_divide_do_not_shift():
    """A scaled image ends within its last pixel: taking that for a whole one would shift what is near it."""
    files = [encoded(image[:391, :509], "JPEG", quality=85) for image in photographs(4)]
    geometry = Geometry(230, 230, 3, "stretch", "lanczos")
    assert difference(geometry, files)[1] > 40  # about 32 otherwise


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos", "area"])
def test_an_image_that_is_not_made_smaller_is_decoded_fully(interpolation):
    for side in (400, 420, 533, 600):
        geometry = Geometry(side, side, 3, "stretch", interpolation)
        assert np.array_equal(prepare(FILES[0], geometry), full(FILES[0], geometry))


def test_grey_is_close_too():
    for file in FILES[:2]:
        image = Image.open(io.BytesIO(file)).convert("L")
        geometry = Geometry(224, 224, 1, "letterbox")
        assert np.abs(prepare(file, geometry).astype(int) - prepare(np.asarray(image), geometry)).mean() < 3


def test_nearest_picks_pixels_of_the_full_image():
    geometry = Geometry(50, 50, 3, "stretch", "nearest")
    assert np.array_equal(prepare(FILES[0], geometry), full(FILES[0], geometry))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos", "area"])
def test_shrinking_is_antialiased(interpolation):
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))[:, :, None]
    result = prepare(stripes, Geometry(8, 8, 1, "stretch", interpolation)).astype(int)
    assert np.abs(result - 127).max() <= 12
    assert set(prepare(stripes, Geometry(8, 8, 1, "stretch", "nearest")).ravel()) <= {0, 255}


def test_interpolations_differ():
    results = [
        prepare(FILES[0], Geometry(100, 100, 3, "stretch", name)).tobytes()
        for name in ("nearest", "bilinear", "bicubic", "lanczos", "area")
    ]
    assert len(set(results)) == 5


@pytest.mark.parametrize("size", [(400, 533), (391, 509), (387, 531), (420, 555)])
@pytest.mark.parametrize("side", [224, 200])
def test_two_ways_of_bilinear_scaling_do_not_differ_by_a_shift(size, side):
    """A box that ends within a pixel is scaled by its own size, not by that of the pixels that hold it."""
    files = [encoded(image[: size[0], : size[1]], "JPEG", quality=90) for image in photographs(4)]
    geometry = Geometry(side, side, 3, "stretch", "bilinear")
    assert difference(geometry, files)[1] > 34
