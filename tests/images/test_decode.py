"""Bytes -> pixels: the right ones, or ``BadImage`` and nothing else."""

import io
import resource
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from convoy.images import BadImage, decode
from tests.conftest import encoded, noise
from tests.images.support import png

GREY, RGB = noise(7, 5), noise(7, 5, 3)
KINDS = ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]
FILES = [encoded(pixels, kind) for kind in KINDS for pixels in (noise(20, 16), noise(20, 16, 3))]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_files_give_the_very_pixels(kind):
    assert np.array_equal(decode(encoded(GREY, kind), 1)[:, :, 0], GREY)
    assert np.array_equal(decode(encoded(RGB, kind), 3), RGB)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_near_its_source(mode, channels):
    smooth = np.add.outer(np.arange(48), 2 * np.arange(40)).astype(np.uint8)
    decoded = decode(encoded(Image.fromarray(smooth).convert(mode), "JPEG", quality=95), channels)
    assert decoded.shape == (48, 40, channels)
    assert np.abs(decoded.astype(int) - smooth[:, :, None]).max() < 12


def test_grey_becomes_three_equal_channels():
    assert np.array_equal(decode(encoded(GREY), 3), np.repeat(GREY[:, :, None], 3, axis=2))


def test_colour_becomes_its_luminance():
    luminance = RGB @ [0.299, 0.587, 0.114]  # ITU-R 601
    assert np.abs(decode(encoded(RGB), 1)[:, :, 0] - luminance).max() < 1


def test_palette_is_looked_up():
    image = Image.fromarray(RGB).quantize(16)
    assert np.array_equal(decode(encoded(image), 3), np.asarray(image.convert("RGB")))


def test_one_bit_is_black_and_white():
    bits = GREY > 127
    assert np.array_equal(decode(encoded(Image.fromarray(bits)), 1)[:, :, 0], bits * np.uint8(255))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_composed_on_black(mode):
    rgba = Image.fromarray(noise(7, 5, 4), "RGBA").convert(mode)
    values = np.asarray(rgba).astype(float)
    expected = np.broadcast_to(values[:, :, :-1] * values[:, :, -1:] / 255, (7, 5, 3))
    assert np.abs(decode(encoded(rgba), 3) - expected).max() <= 1


def test_transparent_entry_of_a_palette_is_black():
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([200, 100, 50, 10, 20, 30])
    assert decode(encoded(image, transparency=0), 3).tolist() == [[[0, 0, 0], [10, 20, 30]]]


def test_sixteen_bits_keep_the_high_byte():
    values = np.random.default_rng(0).integers(0, 2**16, (7, 5), np.uint16)
    for kind in ("PNG", "TIFF"):
        assert np.array_equal(decode(encoded(values, kind), 1)[:, :, 0], values >> 8)
    rows = b"".join(b"\0" + row.tobytes() for row in RGB.astype(">u2") * 257)
    assert np.array_equal(decode(png(5, 7, bit_depth=16, colour=2, rows=rows), 3), RGB)


def test_result_belongs_to_the_caller_and_repeats():
    first, second = decode(FILES[1], 3), decode(FILES[1], 3)
    assert np.array_equal(first, second)
    assert first.dtype == np.uint8


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"just some text, not an image", "not_an_image"),
        (b"\0" * 1000, "not_an_image"),
        (encoded(noise(64, 64, 3), "JPEG")[:800], "truncated"),
        (encoded(noise(64, 64, 3), "PNG")[:800], "truncated"),
    ],
)
def test_bad_content_is_refused_with_its_reason(content, reason):
    with pytest.raises(BadImage) as refused:
        decode(content, 3)
    assert refused.value.reason == reason
    assert refused.value.detail


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (10_001, 10_000), (2_000_000_000, 1)])
def test_huge_image_is_refused_from_its_header(width, height):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadImage) as refused:
        decode(png(width, height), 1)
    assert refused.value.reason == "too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


def test_text_that_unpacks_to_much_does_no_harm():
    bomb = (b"zTXt", b"note\0\0" + zlib.compress(bytes(100_000_000)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert decode(png(1, 1, chunks=[bomb], rows=b"\0\7"), 1).tolist() == [[[7]]]
    with pytest.raises(BadImage):  # of another kind, which Pillow's own reader opens
        decode(png(1, 1, 16, chunks=[bomb], rows=b"\0\7\7"), 1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


def assert_pixels_or_bad_image(content, channels):
    reason, pixels = None, None
    try:
        pixels = decode(content, channels)
    except BadImage as refused:
        reason = refused.reason
    assert reason in {None, "empty", "not_an_image", "too_large", "truncated", "corrupt", "unsupported"}
    if pixels is not None:
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == channels
        assert pixels.size > 0


@settings(max_examples=200)
@given(st.sampled_from([b"", *(file[:24] for file in FILES)]), st.binary(max_size=200), st.sampled_from([1, 3]))
def test_arbitrary_bytes_raise_nothing_but_bad_image(start, rest, channels):
    assert_pixels_or_bad_image(start + rest, channels)


@settings(max_examples=200)
@given(st.sampled_from(FILES), st.floats(0, 1, exclude_max=True), st.sampled_from([1, 3]))
def test_truncated_files_raise_nothing_but_bad_image(file, share, channels):
    assert_pixels_or_bad_image(file[: int(share * len(file))], channels)


@settings(max_examples=300)
@given(
    st.sampled_from(FILES),
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 255)), min_size=1, max_size=5),
    st.sampled_from([1, 3]),
)
def test_damaged_files_raise_nothing_but_bad_image(file, damage, channels):
    content = bytearray(file)
    for position, flip in damage:
        content[position % len(content)] ^= flip
    assert_pixels_or_bad_image(bytes(content), channels)


@pytest.mark.parametrize("kind", ["EPS"])
def test_other_types_are_refused_whatever_pillow_would_do_with_them(kind):
    """EPS above all: it is a program, which Pillow would hand to Ghostscript."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, kind)
    with pytest.raises(BadImage, match="not_an_image"):
        decode(buffer.getvalue(), 3)
