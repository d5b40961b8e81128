"""What is stored: encoders, which originals may be kept, and the proposed geometry."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from convoy.images import (
    BadImage,
    Geometry,
    ImageInfo,
    decode,
    encode_jpeg,
    encode_png,
    fits,
    identify,
    prepare,
    propose,
)
from tests.conftest import encoded, noise
from tests.images.support import photographs

sides = st.integers(1, 50)


def plain_decode(content):
    """What a reader gets that looks at nothing but the pixels."""
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


@given(sides, sides, st.sampled_from([1, 3]), st.booleans())
def test_png_keeps_every_pixel(height, width, channels, strided):
    pixels = noise(height, width * 2, channels)[:, ::2] if strided else noise(height, width, channels)
    file = encode_png(pixels)
    assert np.array_equal(plain_decode(file), pixels)
    assert np.array_equal(decode(file, channels), pixels)
    Image.open(io.BytesIO(file)).verify()
    assert fits(identify(file), Geometry(height, width, channels, "none"))


@given(sides, sides, st.sampled_from([1, 3]))
def test_encoded_jpeg_has_the_shape_and_fits(height, width, channels):
    file = encode_jpeg(noise(height, width * 2, channels)[:, ::2], 90)
    assert decode(file, channels).shape == (height, width, channels)
    assert fits(identify(file), Geometry(height, width, channels, "none"))


def test_jpeg_quality_is_size_and_likeness():
    photograph = photographs(1)[0][:224, :224]
    sizes, errors = [], []
    for quality in (50, 80, 95):
        file = encode_jpeg(photograph, quality)
        sizes.append(len(file))
        errors.append(np.abs(decode(file, 3).astype(int) - photograph).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 2


def test_jpeg_keeps_the_colours_of_small_images():
    checks = np.zeros((8, 8, 3), np.uint8)
    checks[::2, ::2], checks[1::2, 1::2] = (255, 0, 0), (0, 0, 255)
    assert np.abs(decode(encode_jpeg(checks, 100), 3).astype(int) - checks).max() < 8  # over 90 with halved colour


def oriented(kind):
    exif = Image.Exif()
    exif[0x0112] = 3
    return encoded(noise(8, 8, 3), kind, exif=exif.tobytes())


RGBA = Image.fromarray(noise(8, 8, 4), "RGBA")
ANIMATED = io.BytesIO()
RGBA.convert("RGB").save(ANIMATED, "PNG", save_all=True, append_images=[Image.new("RGB", (8, 8))])


@pytest.mark.parametrize(
    ("content", "channels", "kept"),
    [
        (encoded(noise(8, 8)), 1, True),
        (encoded(noise(8, 8, 3)), 3, True),
        (encoded(noise(8, 8), "JPEG"), 1, True),
        (encoded(noise(8, 8, 3), "JPEG", progressive=True), 3, True),
        (encoded(noise(8, 8, 3)), 1, False),
        (encoded(noise(8, 8)), 3, False),
        (encoded(noise(8, 9)), 1, False),
        (encoded(RGBA), 3, False),
        (encoded(RGBA.convert("LA")), 1, False),
        (encoded(RGBA.convert("RGB").quantize(8)), 3, False),
        (encoded(noise(8, 8), transparency=5), 1, False),
        (encoded(Image.fromarray(noise(8, 8) > 127)), 1, False),
        (encoded(noise(8, 8).astype(np.uint16)), 1, False),
        (encoded(RGBA.convert("CMYK"), "JPEG"), 3, False),
        (oriented("JPEG"), 3, False),
        (oriented("PNG"), 3, False),
        (ANIMATED.getvalue(), 3, False),
        (encoded(noise(8, 8, 3), "BMP"), 3, False),
        (encoded(noise(8, 8, 3), "WEBP", lossless=True), 3, False),
    ],
)
def test_an_original_is_kept_where_any_decoder_gives_what_prepare_gives(content, channels, kept):
    geometry = Geometry(8, 8, channels, "stretch")
    assert fits(identify(content), geometry) == kept
    if kept:
        assert np.array_equal(plain_decode(content), prepare(content, geometry))


@given(
    sides,
    sides,
    st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]),
    st.sampled_from(["1", "L", "RGB", "P", "RGBA", "LA", "CMYK"]),
)
def test_a_header_says_what_decoding_gives(height, width, kind, mode):
    image = Image.fromarray(noise(height, width, 4), "RGBA").convert(mode)
    try:
        content = encoded(image, kind)
    except (OSError, KeyError, ValueError):  # not every kind has every mode
        return
    info = identify(content)
    assert decode(content, info.channels).shape == (info.height, info.width, info.channels)
    assert info.kind == kind.lower()
    if info.channels == 1:
        assert np.array_equal(decode(content, 3), np.repeat(decode(content, 1), 3, axis=2))


def test_depth_and_grey_palettes_are_identified():
    assert identify(encoded(noise(4, 4).astype(np.uint16))).bits == 16
    assert identify(encoded(noise(4, 4).astype(np.uint16), "TIFF")).bits == 16
    assert identify(encoded(Image.fromarray(noise(4, 4) > 127))).bits == 1
    grey = Image.fromarray(noise(4, 4) % 4, "P")
    grey.putpalette([0, 0, 0, 90, 90, 90, 180, 180, 180, 255, 255, 255])
    assert identify(encoded(grey)).channels == 1
    assert identify(encoded(Image.fromarray(noise(4, 4, 3)).quantize(4))).channels == 3


def info(height, width, channels=3):
    return ImageInfo("jpeg", width, height, channels, 8, True)


@pytest.mark.parametrize(
    ("infos", "geometry", "why"),
    [
        ([info(28, 28, 1)] * 5, Geometry(28, 28, 1, "none"), "every one is 28x28"),
        ([info(28, 28, 1), info(28, 28)], Geometry(28, 28, 3, "none"), "colour"),
        ([info(400, 533), info(410, 540), info(390, 520)], Geometry(384, 512, 3, "stretch"), "median size is 400x533"),
        (
            [info(400, 533), info(533, 400), info(400, 533)],
            Geometry(384, 512, 3, "letterbox"),
            "aspect ratios are 0.75",
        ),
        ([info(3000, 4000), info(3010, 4000)], Geometry(512, 512, 3, "stretch"), "3005x4000"),
        ([info(3, 5, 1), info(4, 6, 1)], Geometry(32, 32, 1, "stretch"), "all grey"),
    ],
)
def test_a_geometry_is_proposed_and_explained(infos, geometry, why):
    proposed, reason = propose(iter(infos))
    assert proposed == geometry
    assert why in reason
    assert "\n" not in reason


@given(st.lists(st.builds(info, sides, sides, st.sampled_from([1, 3])), min_size=1, max_size=9), st.randoms())
def test_a_proposal_does_not_depend_on_the_order_and_can_be_used(infos, random):
    proposed, _ = propose(infos)
    shuffled = random.sample(infos, len(infos))
    assert propose(shuffled)[0] == proposed
    for one in infos:
        assert prepare(noise(one.height, one.width, one.channels), proposed).shape == proposed.shape


def test_nothing_is_proposed_for_nothing():
    with pytest.raises(BadImage, match="empty"):
        propose([])
