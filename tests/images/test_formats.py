"""Every kind of file, and every way in which its pixels are stored."""

import io
import zlib

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from convoy.images import BadImage, Geometry, decode, identify, prepare
from tests.conftest import encoded, noise
from tests.images.support import npy, photographs, png

ORIENTED = ["JPEG", "PNG", "WEBP", "TIFF"]


def rgb(content):
    """What Pillow's default decoder makes of it."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def oriented(kind, orientation, image):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    return encoded(image, kind, exif=exif.tobytes() if kind != "TIFF" else exif, **options)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("shape", [(400, 533, 3), (33, 17, 3), (5, 5, 3), (1, 1, 3), (40, 31)])
def test_jpegs_give_pillows_very_pixels(shape, subsampling, progressive):
    image = photographs(1)[0][: shape[0], : shape[1]]
    image = image if len(shape) == 3 else image[:, :, 0]
    file = encoded(image, "JPEG", quality=85, subsampling=subsampling, progressive=progressive)
    assert np.array_equal(decode(file, 3), rgb(file))
    for interpolation in ("nearest", "bilinear", "bicubic", "lanczos", "area"):
        fitting = Geometry(shape[0], shape[1], 3, "stretch", interpolation)
        assert np.array_equal(prepare(file, fitting), rgb(file))


def test_the_grey_of_a_colour_jpeg_is_the_luminance_it_stores():
    file = encoded(photographs(1)[0], "JPEG", quality=90)
    pixels, image = decode(file, 1)[:, :, 0], Image.open(io.BytesIO(file))
    image.draft("L", image.size)
    assert np.array_equal(pixels, np.asarray(image))
    of_colours = np.asarray(Image.open(io.BytesIO(file)).convert("L")).astype(int)
    assert np.abs(pixels - of_colours).mean() < 0.5  # rounding; more only where a colour was out of range
    unclipped = ((rgb(file) > 0) & (rgb(file) < 255)).all(axis=2)
    assert np.abs(pixels - of_colours)[unclipped].max() <= 2


@pytest.mark.parametrize("ycck", [False, True])
def test_cmyk_is_as_pillow_has_it_and_near_its_source(ycck):
    source = photographs(1)[0][:64, :48]
    cmyk = np.asarray(Image.fromarray(source).convert("CMYK"))
    if ycck:  # inverted, as Adobe stores it, and as luminance and colour differences
        file = simplejpeg.encode_jpeg(255 - cmyk, 95, "CMYK", "444")
        assert simplejpeg.decode_jpeg_header(file)[2] == "YCCK"
    else:
        file = encoded(Image.fromarray(cmyk, "CMYK"), "JPEG", quality=95)
    assert np.array_equal(decode(file, 3), rgb(file))
    assert np.abs(decode(file, 3).astype(int) - source).mean() < 4
    assert np.abs(decode(file, 1).astype(int)[:, :, 0] - np.asarray(Image.fromarray(source).convert("L"))).mean() < 4
    assert prepare(file, Geometry(16, 16, 3, "stretch")).shape == (16, 16, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ORIENTED)
def test_exif_orientation_is_applied(kind, orientation):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8], upright[:8, 24:] = (255, 0, 0), (0, 255, 0)  # where left and top are can be seen
    # A transposition is its own inverse; of the quarter turns, 6 and 8 undo each other.
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's Transpose
    image = Image.fromarray(upright)
    stored = image if orientation == 1 else image.transpose(Image.Transpose(undo[orientation]))
    file = oriented(kind, orientation, stored)
    assert np.abs(decode(file, 3).astype(int) - upright).max() <= 4
    info = identify(file)
    assert (info.height, info.width, info.plain) == (16, 32, orientation == 1)
    assert np.abs(prepare(file, Geometry(16, 32, 3, "none")).astype(int) - upright).max() <= 4


def test_the_smaller_image_of_an_oriented_photograph_does_not_shift():
    """At a reduced scale the last pixel is a part only; turned, it comes first."""
    upright = photographs(1)[0][:397, :531]
    geometry = Geometry(240, 300, 3, "stretch")
    expected = np.asarray(Image.fromarray(upright).resize((300, 240), Image.Resampling.BILINEAR)).astype(int)
    for orientation, undo in {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.items():
        image = Image.fromarray(upright)
        stored = image if undo is None else image.transpose(Image.Transpose(undo))
        result = prepare(oriented("JPEG", orientation, stored), geometry)
        assert np.abs(result - expected).mean() < 2.6, orientation  # 2.3 upright; 3.6 and more where it shifts


def test_damaged_exif_is_no_damage_to_the_pixels():
    exif = Image.Exif()
    exif[0x0112] = 6
    file = encoded(noise(8, 12, 3), "JPEG", exif=b"Exif\0\0" + exif.tobytes()[6:14] + b"\xff" * 9)
    assert decode(file, 3).shape == (8, 12, 3)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_of_grey_span_the_whole_range(bits):
    levels = 2**bits
    row = np.arange(8) % levels
    packed = np.packbits((row[:, None] >> np.arange(bits)[::-1] & 1).astype(np.uint8).ravel()).tobytes()
    file = png(8, 1, bit_depth=bits, rows=b"\0" + packed)
    assert decode(file, 1).ravel().tolist() == (row * 255 // (levels - 1)).tolist()
    see_through = png(8, 1, bit_depth=bits, chunks=[(b"tRNS", b"\0" + bytes([levels - 1]))], rows=b"\0" + packed)
    expected = np.where(row == levels - 1, 0, row * 255 // (levels - 1))
    assert decode(see_through, 1).ravel().tolist() == expected.tolist()


def test_a_transparent_grey_or_colour_is_black():
    grey = png(3, 1, chunks=[(b"tRNS", b"\0\x64")], rows=b"\0" + bytes([99, 100, 101]))
    assert decode(grey, 1).ravel().tolist() == [99, 0, 101]
    deep = png(2, 1, 16, chunks=[(b"tRNS", b"\x64\x01")], rows=b"\0\x64\x00\x64\x01")
    assert decode(deep, 1).ravel().tolist() == [0x64, 0]
    colour = png(2, 1, 8, 2, chunks=[(b"tRNS", b"\0\x01\0\x02\0\x03")], rows=b"\0\x01\x02\x03\x01\x02\x04")
    assert decode(colour, 3).ravel().tolist() == [0, 0, 0, 1, 2, 4]


def test_interlaced_and_split_pngs():
    pixels = noise(1, 4)  # Adam7's first, fourth and sixth pass hold a row of one: pixels 0, 2, and 1 and 3
    rows = b"\0" + bytes([pixels[0, 0]]) + b"\0" + bytes([pixels[0, 2]]) + b"\0" + bytes([pixels[0, 1], pixels[0, 3]])
    file = bytearray(png(4, 1, rows=rows))
    file[28] = 1  # interlaced
    file[29:33] = zlib.crc32(file[12:29]).to_bytes(4, "big")
    assert np.array_equal(decode(bytes(file), 1)[:, :, 0], pixels)
    whole = png(5, 7, rows=b"".join(b"\0" + row.tobytes() for row in noise(7, 5)))
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in noise(7, 5)))
    parts = [(b"IDAT", packed[:9]), (b"IDAT", b""), (b"IDAT", packed[9:])]
    # The chunks written first hold all; the one that `png` adds at the end has nothing that is still needed.
    assert np.array_equal(decode(png(5, 7, chunks=parts), 1), decode(whole, 1))


@pytest.mark.parametrize("colour", [4, 6])
def test_sixteen_bits_with_alpha(colour):
    channels = 2 if colour == 4 else 4
    values = noise(3, 2, channels)
    values[:, :, -1] = 255
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2") * 257)
    expected = np.broadcast_to(values[:, :, :-1], (3, 2, 3))
    assert np.array_equal(decode(png(2, 3, 16, colour, rows=rows), 3), expected)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_used(kind):
    frames = [Image.new("RGB", (12, 10), colour) for colour in ("red", "blue", "green")]
    buffer = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], **options)
    assert decode(buffer.getvalue(), 3)[5, 5].tolist() == [255, 0, 0]
    assert identify(buffer.getvalue()).width == 12


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(shape, order):
    pixels = noise(*shape)
    file = npy(np.asarray(pixels, order=order))
    for channels in (1, 3):
        geometry = Geometry(4, 6, channels, "none")
        assert np.array_equal(decode(file, channels), prepare(pixels, geometry))
    info = identify(file)
    assert (info.kind, info.height, info.width, info.channels) == ("npy", 4, 6, 3 if shape[2:] == (3,) else 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (npy(noise(4, 6))[:-1], "truncated"),
        (npy(noise(4, 6))[:20], "truncated"),
        (npy(noise(4, 6).astype(np.float32)), "unsupported"),
        (npy(np.array([[None]])), "unsupported"),  # a pickle: never loaded
        (npy(noise(4, 6, 4)), "channels"),
        (npy(noise(4)), "channels"),
        (npy(noise(0, 4)), "empty"),
        (npy(noise(1, 1)).replace(b"(1, 1), }", b"(90000, 90000), }"), "too_large"),
        (npy(noise(1, 1)).replace(b"(1, 1), }", b"(-1, 1), }"), "empty"),
        (npy(noise(1, 1)).replace(b"'descr'", b"exit(1)"), "corrupt"),
        (encoded(Image.new("F", (4, 4)), "TIFF"), "unsupported"),
    ],
)
def test_what_is_not_read_is_said(content, reason):
    with pytest.raises(BadImage) as refused:
        decode(content, 1)
    assert refused.value.reason == reason
    assert "\n" not in refused.value.detail
