"""Damaged and hostile files: ``BadImage`` with the right reason, little memory, and never pixels that are not there."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from convoy.images import REASONS, BadImage, Geometry, decode, fits, identify, prepare
from tests.conftest import encoded, noise
from tests.images.support import npy, photographs, png

PHOTOGRAPH = encoded(photographs(1)[0][:200, :300], "JPEG", quality=85)
PROGRESSIVE = encoded(photographs(1)[0][:200, :300], "JPEG", quality=85, progressive=True)
CMYK = encoded(Image.fromarray(photographs(1)[0][:200, :300]).convert("CMYK"), "JPEG")
JPEGS = {"baseline": PHOTOGRAPH, "progressive": PROGRESSIVE, "cmyk": CMYK}
SMALLER = Geometry(32, 32, 3, "stretch")
FILES = [
    *(
        encoded(noise(20, 16, *rest), kind)
        for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
        for rest in ((), (3,))
    ),
    npy(noise(20, 16)),
    encoded(Image.fromarray(noise(20, 16, 3)).quantize(8), "PNG", transparency=1),
    encoded(noise(20, 16).astype(np.uint16), "TIFF"),
    encoded(Image.fromarray(noise(20, 16, 4), "CMYK"), "JPEG"),
]


def reason_of(content, geometry=None):
    try:
        if geometry:
            prepare(content, geometry)
        else:
            decode(content, 3)
    except BadImage as bad:
        return bad.reason
    return None


@pytest.mark.parametrize("file", JPEGS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("geometry", [None, SMALLER])
def test_a_jpeg_cut_short_is_truncated_though_its_decoder_would_pad_it(file, share, geometry):
    content = JPEGS[file]
    assert reason_of(content[: min(int(share * len(content)), len(content) - 2)], geometry) == "truncated"


@pytest.mark.parametrize("kind", ["jpeg", "grey", "progressive", "cmyk"])
def test_a_small_jpeg_cut_anywhere_is_truncated_its_header_included(kind):
    pixels = noise(16, 16, *{"grey": (), "cmyk": (4,)}.get(kind, (3,)))
    image = Image.fromarray(pixels, "CMYK") if kind == "cmyk" else Image.fromarray(pixels)
    content = encoded(image, "JPEG", progressive=kind == "progressive")
    assert {reason_of(content[:length]) for length in range(3, len(content) - 1)} == {"truncated"}


@pytest.mark.parametrize("file", JPEGS)
@pytest.mark.parametrize("geometry", [None, SMALLER])
def test_what_libjpeg_only_warns_of_is_corrupt(file, geometry):
    content = bytearray(JPEGS[file])
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(range(200, 240))
    content[middle + 20 : middle + 22] = b"\xff\xd3"  # a restart marker where there is none
    assert reason_of(bytes(content), geometry) == "corrupt"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_what_follows_an_image_does_no_harm(kind):
    file = encoded(noise(20, 16, 3), kind)
    assert np.array_equal(decode(file + b"\0trailing\xff\xd9" * 50, 3), decode(file, 3))


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_every_flipped_byte_of_a_png_is_found(position, flip):
    file = bytearray(encoded(noise(20, 16, 3), "PNG"))
    file[position % len(file)] ^= flip
    assert reason_of(bytes(file)) in {"corrupt", "truncated", "not_an_image", "too_large"}


@given(st.integers(0, 10_000))
def test_every_shortened_png_is_found(length):
    file = encoded(noise(20, 16, 3), "PNG")
    assert reason_of(file[: length % len(file)]) in {"truncated", "empty", "not_an_image"}


def outcome(use):
    """What it returns, or the reason why not."""
    try:
        return use()
    except BadImage as bad:
        return bad.reason


@settings(max_examples=400)
@given(
    st.sampled_from(FILES),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 255)), max_size=4),
    st.floats(0, 1),
    st.sampled_from([SMALLER, Geometry(24, 40, 1, "letterbox", "area"), Geometry(3, 2, 3, "center_crop", "lanczos")]),
)
def test_nothing_but_bad_image_leaves(file, damage, share, geometry):
    content = bytearray(file)
    for position, flip in damage:
        content[position % len(content)] ^= flip
    content = bytes(content[: round(share * len(content))])
    prepared = outcome(lambda: prepare(content, geometry).shape)
    assert prepared == geometry.shape or prepared in REASONS
    assert outcome(lambda: fits(identify(content), geometry)) in {True, False, *REASONS}


@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBPVP8X", b"II*\0", b"\x93NUMPY", b"BM"]),
    st.binary(),
)
def test_arbitrary_bytes_are_identified_or_refused(start, rest):
    width = outcome(lambda: identify(start + rest).width)
    assert width in REASONS or width > 0


def jpeg_of_size(width, height):
    """A small JPEG whose header lies about its size."""
    content = encoded(noise(8, 8, 3), "JPEG")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + content[at + 4 :]


@pytest.mark.parametrize("geometry", [None, SMALLER])
@pytest.mark.parametrize(
    "bomb",
    [
        png(50_000, 50_000),
        jpeg_of_size(50_000, 50_000),
        b"GIF89a" + b"\xff\xff" * 2 + encoded(noise(4, 4), "GIF")[10:],
        b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0" + b"\xff\x3f\0" * 2 + bytes(40),
        npy(noise(1, 1)).replace(b"(1, 1), }", b"(50000, 50000), }"),
    ],
)
def test_a_bomb_of_any_kind_is_refused_from_its_header(bomb, geometry):
    assert reason_of(bomb, geometry) == "too_large"
    with pytest.raises(BadImage, match="too_large"):
        identify(bomb)


MEASURE = """
import re, sys
from convoy.images import BadImage, Geometry, prepare

def peak():  # of this program; getrusage's would begin with that of the process which started it
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])

content, geometry = sys.stdin.buffer.read(), Geometry(224, 224, 3, "stretch")
prepare(open(sys.argv[1], "rb").read(), geometry)  # what is loaded once
before = peak()
for _ in range(3):
    try:
        prepare(content, geometry)
    except BadImage as bad:
        assert bad.reason == "too_large", bad
print((peak() - before) // 1024)
"""


def megabytes_for(content, tmp_path):
    """By how much the memory of a process rises that prepares the image."""
    (tmp_path / "small.jpg").write_bytes(PHOTOGRAPH)
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "small.jpg")]
    return int(subprocess.run(command, input=content, capture_output=True, check=True, timeout=1200).stdout)


def test_a_png_bomb_takes_no_memory(tmp_path):
    assert megabytes_for(png(50_000, 50_000, rows=bytes(50_000_000)), tmp_path) < 20


@pytest.mark.long
@pytest.mark.parametrize(
    ("mode", "progressive", "limit"),
    [("RGB", False, 20), ("RGB", True, 60), ("CMYK", False, 250)],  # CMYK is decoded fully, by Pillow
)
def test_a_photograph_of_12_megapixels_takes_bounded_memory(mode, progressive, limit, tmp_path):
    large = Image.fromarray(photographs(1)[0]).resize((4000, 3000)).convert(mode)
    assert megabytes_for(encoded(large, "JPEG", quality=90, progressive=progressive), tmp_path) < limit


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("resize", ["stretch", "letterbox", "center_crop"])
def test_an_image_of_one_pixel_works(kind, resize):
    file = encoded(np.full((1, 1, 3), 200, np.uint8), kind)
    assert decode(file, 3).shape == (1, 1, 3)
    assert np.abs(prepare(file, Geometry(8, 8, 3, resize)).astype(int) - 200).max() <= 5
