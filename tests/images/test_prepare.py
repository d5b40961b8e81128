"""Any image -> the network's geometry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from convoy.images import BadImage, Geometry, decode, prepare
from tests.conftest import encoded, noise

SCALING = ["stretch", "letterbox", "center_crop"]
sides = st.integers(1, 40)
channel_counts = st.sampled_from([1, 3])


@st.composite
def images(draw):
    return noise(draw(sides), draw(sides), draw(channel_counts), seed=draw(st.integers(0, 9)))


def image_of(mode):
    """A Pillow image of 9x6 (height x width) in that mode."""
    if mode.startswith("I;16"):
        return Image.fromarray(np.random.default_rng(0).integers(0, 2**16, (9, 6), np.uint16))
    return Image.fromarray(noise(9, 6, 4), "RGBA").convert(mode)


@given(images(), sides, sides, st.sampled_from(SCALING))
def test_every_size_is_brought_to_the_target(pixels, height, width, resize):
    before = pixels.copy()
    result = prepare(pixels, Geometry(height, width, pixels.shape[2], resize))
    assert result.shape == (height, width, pixels.shape[2])
    assert result.dtype == np.uint8
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("resize", [*SCALING, "none"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "LA", "RGBA", "I;16"])
def test_an_image_that_fits_keeps_its_very_pixels(mode, channels, resize):
    file = encoded(image_of(mode))
    assert np.array_equal(prepare(file, Geometry(9, 6, channels, resize)), decode(file, channels))


@given(images(), sides, sides, st.sampled_from(SCALING))
def test_pixels_and_the_file_that_holds_them_give_the_same(pixels, height, width, resize):
    file = encoded(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    geometry = Geometry(height, width, pixels.shape[2], resize)
    assert np.array_equal(prepare(file, geometry), prepare(pixels, geometry))


@pytest.mark.parametrize(("shape", "channels"), [((8, 8), 1), ((8, 8), 3), ((8, 8, 1), 3), ((8, 8, 3), 1)])
def test_pixels_are_converted_as_files_are(shape, channels):
    pixels = noise(*shape)
    geometry = Geometry(8, 8, channels, "none")
    assert np.array_equal(prepare(pixels, geometry), prepare(encoded(np.squeeze(pixels)), geometry))


@given(sides, sides, sides, sides, st.integers(0, 255), st.sampled_from(["stretch", "center_crop"]))
def test_an_even_area_stays_even(height, width, target_height, target_width, value, resize):
    pixels = np.full((height, width, 1), value, np.uint8)
    assert (prepare(pixels, Geometry(target_height, target_width, 1, resize)) == value).all()


@given(images(), sides, sides, st.sampled_from(["stretch", "center_crop"]))
def test_scaling_invents_no_brighter_or_darker_values(pixels, height, width, resize):
    result = prepare(pixels, Geometry(height, width, pixels.shape[2], resize))
    assert pixels.min() <= result.min()
    assert result.max() <= pixels.max()


@given(images(), sides, sides)
def test_a_mirrored_image_gives_the_mirrored_result(pixels, height, width):
    geometry = Geometry(height, width, pixels.shape[2], "stretch")
    straight, mirrored = prepare(pixels, geometry), prepare(np.ascontiguousarray(pixels[:, ::-1]), geometry)
    assert np.abs(straight.astype(int) - mirrored[:, ::-1]).max() <= 1


@given(sides, sides, sides, sides)
def test_letterbox_keeps_the_aspect_ratio_in_the_middle_of_zeros(height, width, target_height, target_width):
    pixels = np.full((height, width, 1), 200, np.uint8)
    result = prepare(pixels, Geometry(target_height, target_width, 1, "letterbox"))[:, :, 0]
    rows, columns = np.flatnonzero(result.any(axis=1)), np.flatnonzero(result.any(axis=0))
    assert (result[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] == 200).all()
    assert np.count_nonzero(result) == len(rows) * len(columns)
    assert len(rows) == target_height or len(columns) == target_width
    ratio = min(target_height / height, target_width / width)
    assert abs(len(rows) - max(1, height * ratio)) <= 0.5
    assert abs(len(columns) - max(1, width * ratio)) <= 0.5
    assert abs(rows[0] - (target_height - 1 - rows[-1])) <= 1
    assert abs(columns[0] - (target_width - 1 - columns[-1])) <= 1


def test_center_crop_keeps_the_middle():
    pixels = np.zeros((20, 60, 1), np.uint8)
    pixels[:, 20:40] = 255
    assert (prepare(pixels, Geometry(20, 20, 1, "center_crop")) == 255).all()
    assert (prepare(pixels.transpose(1, 0, 2), Geometry(20, 20, 1, "center_crop")) == 255).all()
    assert (prepare(pixels, Geometry(9, 9, 1, "center_crop"))[:, 1:-1] == 255).all()  # but for blurred edges


def test_a_long_strip_is_not_enlarged_before_it_is_cropped():
    strip = np.zeros((1, 70_000_000, 1), np.uint8)  # decode lets such an image pass
    assert prepare(strip, Geometry(32, 32, 1, "center_crop")).shape == (32, 32, 1)


@given(images())
def test_none_refuses_other_sizes(pixels):
    height, width, channels = pixels.shape
    with pytest.raises(BadImage) as refused:
        prepare(pixels, Geometry(height, width + 1, channels, "none"))
    assert refused.value.reason == "size"
    assert f"{height}x{width}" in refused.value.detail


def test_a_bad_file_is_refused():
    with pytest.raises(BadImage):
        prepare(b"no image", Geometry(4, 4, 1, "stretch"))
