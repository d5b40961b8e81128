"""Files of a dataset are decoded into their place, to the pixels that ``decode`` gives."""

import numpy as np
import pytest
from PIL import Image

from convoy.images import BadImage, decode, decode_stored, encode_jpeg, encode_png
from tests.conftest import encoded, noise


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("encode", [encode_png, lambda image: encode_jpeg(image, 90)])
@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_pixels_are_those_of_decode(channels, encode, kind):
    content = encode(noise(20, 30, channels))
    place = np.zeros((3, 20, 30, channels), np.uint8)
    decode_stored(kind(content), place[1])
    np.testing.assert_array_equal(place[1], decode(content, channels))
    assert not place[[0, 2]].any()  # nothing is written beside it


@pytest.mark.parametrize("channels", [1, 3])
def test_unusual_jpegs_are_decoded_as_well(channels):
    content = encoded(Image.fromarray(noise(16, 16, 4), "CMYK"), "JPEG")
    out = np.empty((16, 16, channels), np.uint8)
    decode_stored(content, out)
    np.testing.assert_array_equal(out, decode(content, channels))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_another_size_is_refused(kind):
    with pytest.raises(BadImage, match=r"shape \(8, 9, 3\), not \(8, 8, 3\)"):
        decode_stored(encoded(noise(8, 9, 3), kind), np.empty((8, 8, 3), np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_damage_is_told_as_decode_tells_it(kind):
    content = encoded(noise(40, 40, 3), kind)[:-500]
    with pytest.raises(BadImage) as expected:
        decode(content, 3)
    with pytest.raises(BadImage, match=str(expected.value).splitlines()[0][:20]) as caught:
        decode_stored(content, np.empty((40, 40, 3), np.uint8))
    assert caught.value.reason == expected.value.reason == "truncated"
