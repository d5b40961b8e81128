"""Images whose numbers are not 8 bits in three channels: scaled by a rule that is stored, or refused by name."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import TiffImagePlugin

from convoy.config import Config, DatasetConfig, ImageConfig, SourceConfig
from convoy.dataset.ingest.build import ingest
from convoy.dataset.reading.examples import read_split
from convoy.dataset.sources import source_of
from convoy.dataset.storage.describe import manifest_summary
from convoy.dataset.storage.manifest import NAME, Manifest
from convoy.errors import ConfigError, SourceError
from convoy.images import (
    ArraySpec,
    BadImage,
    Geometry,
    ValueRange,
    check_array,
    decode,
    extremes,
    identify,
    prepare,
    prepare_measured,
    range_of_dataset,
)
from convoy.models.builder import build
from convoy.models.package import described
from convoy.training.preparation import check_networks
from convoy.training.preparation import prepare as prepare_training
from tests.conftest import noise
from tests.dataset.versions import write_arrays
from tests.field.inputs import pixels


def of_dataset(*contents):
    """The rule that a dataset of these files has."""
    ranges = {}
    found = [extreme for content in contents if (extreme := extremes(content))]
    for kind in {kind for kind, *_ in found}:
        low = min(low for name, low, _ in found if name == kind)
        high = max(high for name, _, high in found if name == kind)
        ranges[kind] = range_of_dataset(kind, low, high)[0]
    return ValueRange("auto", **ranges)


def linear(low, high, start=None, end=None, size=24):
    """The ramp from start to end if low to high become 0 to 255."""
    values = np.linspace(low if start is None else start, high if end is None else end, size * size)
    return np.clip((values - low) / (high - low), 0, 1).reshape(size, size) * 255


def close(content, expected, value_range=None, channels=1):
    found = decode(content, channels, value_range or of_dataset(content))
    assert np.abs(found[:, :, 0] - expected).max() <= 1.01


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("int32_tiff", 0, 254),
        ("uint32_above_the_signed_range", 0, 2**32 - 1),
        ("twelve_bits_in_sixteen", 0, 4095),
        ("full_sixteen_bits", 0, 65535),
        ("signed_ct", -1024, 3071),
        ("signed_bytes", -128, 127),
        ("floats", 0, 1),
        ("float_npy", 0, 1),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_values_of_more_than_8_bits_use_the_whole_range(kind, low, high, channels):
    if kind == "signed_bytes" and (b"II", 1, (2,), 1, (8,), ()) not in TiffImagePlugin.OPEN_INFO:
        pytest.skip("this version of Pillow does not read signed bytes")
    content = getattr(pixels, kind)()
    expected = linear(0, 255, 0, 254) if kind == "int32_tiff" else linear(low, high)
    close(content, expected, channels=channels)
    assert identify(content).width == 24


@pytest.mark.parametrize("content", [pixels.twelve_bit_colours_in_sixteen(), pixels.twelve_bit_colour_png()])
def test_colours_of_12_bits_in_16(content):
    found = decode(content, 3, of_dataset(content)).astype(int)
    assert np.abs(found[:, :, 0] - linear(0, 4095)).max() <= 1
    assert np.abs(found[:, :, 1] - linear(0, 4095)[::-1, ::-1]).max() <= 1
    assert (found[:, :, 2] == 128).all()


def test_compression_makes_no_difference_to_colours_of_16_bits():
    plain, packed = (pixels.twelve_bit_colours_in_sixteen(deflate) for deflate in (False, True))
    assert np.array_equal(decode(plain, 3, of_dataset(plain)), decode(packed, 3, of_dataset(packed)))


def test_planes_of_16_bits_are_read_as_such():
    values = np.dstack(
        [pixels.ramp(0, 65535, np.uint16), pixels.ramp(65535, 0, np.uint16), pixels.ramp(9, 9, np.uint16)]
    )
    assert np.array_equal(decode(pixels.tiff(values, planes=True), 3), (values >> 8).astype(np.uint8))
    twelve = pixels.tiff(values >> 4, planes=True)
    assert np.array_equal(
        decode(twelve, 3, of_dataset(twelve)), decode(pixels.tiff(values >> 4), 3, of_dataset(twelve))
    )


def test_16_bits_keep_their_upper_8_as_ever():
    values = np.linspace(0, 65535, 576).astype(np.uint16).reshape(24, 24)
    content = pixels.tiff(values)
    assert np.array_equal(decode(content, 1)[:, :, 0], values >> 8)
    assert np.array_equal(decode(content, 1, of_dataset(content))[:, :, 0], values >> 8)
    assert np.array_equal(decode(content, 1, ValueRange.from_setting([0, 65535]))[:, :, 0], values >> 8)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("states_its_range", linear(0, 1000)),
        ("signed_states_its_range", linear(-1000, 1000, -500, 500)),
        ("states_its_largest_value", linear(0, 4095, 0, 3900)),
        ("significant_bits_unscaled", linear(0, 4095)),
        ("significant_bits_scaled", linear(0, 4095)),
    ],
)
def test_what_a_file_states_about_its_range_comes_first(kind, expected):
    content = getattr(pixels, kind)()
    assert extremes(content) is None
    close(content, expected, ValueRange("auto", (0, 65535.0)))


def test_the_range_is_that_of_all_files_never_of_one():
    dark, bright = pixels.tiff(pixels.ramp(0, 500, np.uint16)), pixels.twelve_bits_in_sixteen()
    close(dark, linear(0, 4095, 0, 500), of_dataset(dark, bright))


def test_integers_and_floats_have_ranges_of_their_own():
    both = of_dataset(pixels.floats(), pixels.twelve_bits_in_sixteen())
    assert (both.integers, both.floats) == ((0, 4095), (0, 1))
    close(pixels.floats(), linear(0, 1), both)


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected"),
    [
        ("integers", 0, 254, (0, 255)),
        ("integers", 3, 1023, (0, 1023)),
        ("integers", 0, 2000, (0, 2047)),
        ("integers", 0, 20_000, (0, 65535)),
        ("integers", 0, 70_000, (0, 131_071)),
        ("integers", -1024, 3071, (-1024, 3071)),
        ("integers", -5, -5, (-5, -4)),
        ("floats", 0.1, 0.9, (0, 1)),
        ("floats", -0.9, 0.9, (-1, 1)),
        ("floats", 0, 254.5, (0, 255)),
        ("floats", 270.5, 310.25, (270.5, 310.25)),
    ],
)
def test_the_rule_of_a_dataset(kind, low, high, expected):
    assert range_of_dataset(kind, low, high)[0] == expected


def test_settings():
    content = pixels.twelve_bits_in_sixteen()
    close(content, linear(0, 65535, 0, 4095), ValueRange.from_setting("dtype"))
    close(content, linear(1000, 2000, 0, 4095), ValueRange.from_setting([1000, 2000]))
    close(pixels.floats(), linear(0, 1), ValueRange.from_setting("dtype"))
    close(pixels.signed_ct(), linear(-1000, 400, -1024, 3071), ValueRange.from_setting([-1000, 400]))
    eight = pixels.tiff(pixels.ramp(0, 255, np.uint8))
    assert np.array_equal(decode(eight, 1, ValueRange.from_setting([0, 9])), decode(eight, 1))  # 8 bits stay


@pytest.mark.parametrize("setting", ["bright", [1], [2, 1], [0, float("nan")], [1, 2, 3]])
def test_wrong_settings_are_refused(setting):
    with pytest.raises(ConfigError, match="value_range"):
        ImageConfig(value_range=setting)


def test_without_a_rule_nothing_becomes_black():
    for content in (pixels.int32_tiff(), pixels.signed_ct(), pixels.floats()):
        with pytest.raises(BadImage, match=r"unsupported.*value_range"):
            decode(content, 1)


def test_nan_is_refused_and_gdals_missing_pixels_do_not_count():
    with pytest.raises(BadImage, match="not_finite"):
        decode(pixels.floats_with_nan(), 1, ValueRange("auto", floats=(0, 1)))
    content = pixels.floats_without_data()
    found = decode(content, 1, of_dataset(content))[:, :, 0]
    assert (found[0, :4] == 0).all()
    assert np.abs(found.ravel()[4:] - linear(0, 1).ravel()[4:]).max() <= 1


def test_a_band_called_alpha_that_is_no_opacity_is_noted():
    for content, expected in (
        (pixels.infrared_as_alpha(), ["alpha_not_opaque"]),
        (pixels.infrared_band(), ["bands_unused"]),
        (pixels.tiff(np.dstack([noise(8, 8)] * 3)), []),
    ):
        notes = []
        prepare_measured(content, Geometry(24, 24, 3, "stretch"), notes)
        assert notes == expected
    assert np.array_equal(decode(pixels.infrared_band(), 1)[:, :, 0], pixels.ramp(0, 255, np.uint8))


@pytest.mark.parametrize(("count", "dtype"), [(4, np.uint8), (4, np.uint16), (13, np.uint16)])
def test_many_bands_are_named_with_the_way_in(count, dtype):
    with pytest.raises(BadImage, match=f"unsupported.*{count} bands.*source.kind arrays"):
        decode(pixels.bands(count, dtype), 3)


@pytest.mark.parametrize("shape", [(60, 3, 32, 32), (60, 1, 28, 28), (60, 13, 64, 64), (60, 3, 16, 20)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_arrays_with_channels_first_are_refused_with_the_transposition(tmp_path, shape, dtype):
    np.savez(tmp_path / "images.npz", images=np.zeros(shape, dtype), labels=np.arange(60) % 3)
    with pytest.raises(SourceError, match=r"images\.transpose\(0, 2, 3, 1\)"):
        source_of(SourceConfig("arrays", str(tmp_path / "images.npz")))


@pytest.mark.parametrize("shape", [(60, 32, 32, 3), (60, 28, 28), (60, 50, 2), (60, 64, 64, 13), (60, 16, 16, 16, 1)])
def test_arrays_with_channels_last_are_not(tmp_path, shape):
    np.savez(tmp_path / "images.npz", images=np.zeros(shape, np.uint8), labels=np.arange(60) % 3)
    source_of(SourceConfig("arrays", str(tmp_path / "images.npz")))


def test_a_sample_with_channels_first_is_refused_with_the_transposition():
    for use in (
        lambda: decode(pixels.channels_first_npy(), 3),
        lambda: prepare(np.zeros((3, 24, 24), np.uint8), Geometry(24, 24, 3, "none")),
        lambda: check_array(np.zeros((4, 8, 8), np.float32), ArraySpec((8, 8, 4), "float32")),
    ):
        with pytest.raises(BadImage, match=r"transpose\(1, 2, 0\)"):
            use()


def test_8_bits_leave_no_trace_of_the_rule():
    assert "value_range" not in Geometry(8, 8, 1, "none").to_dict()


def folder(root, write, count=12):
    """Two classes of files whose bytes all differ."""
    for label, name in enumerate("ab"):
        (root / name).mkdir(parents=True)
        for i in range(count):
            (root / name / f"{i}.tif").write_bytes(write(label, i))
    return root


def run_ingest(spark, path, root, **image):
    config = DatasetConfig(
        root=str(root), name="x", image=ImageConfig(24, 24, 1, "none", **image), validation_fraction=0.3
    )
    return ingest(spark, source_of(SourceConfig("folder", str(path))), config, lambda *_: None)


def twelve_bits(label, i):
    return pixels.tiff(np.random.default_rng(12 * label + i).integers(0, 4096, (24, 24), np.uint16))


@pytest.mark.long
@pytest.mark.spark
def test_the_range_of_a_dataset_is_printed_and_stored_for_scoring(spark, tmp_path, capsys):
    path = folder(tmp_path / "images", twelve_bits)
    result = run_ingest(spark, path, tmp_path / "data")
    assert "0 to 4095 become 0 to 255" in capsys.readouterr().err
    manifest = Manifest.load(result.path)
    assert manifest.image.value_range == ValueRange("auto", (0, 4095))
    assert manifest.pixel_std[0] == pytest.approx(255 / 12**0.5, rel=0.05)
    # The geometry that a model carries makes the same pixels.
    metadata = json.loads(json.dumps({"classes": ["a", "b"], "geometry": manifest.image.to_dict()}))
    package = described("models:/x/1", b"", metadata, None)
    names = pq.read_table(result.path / "train", columns=["path"]).column("path").to_pylist()
    for name, image in zip(names, read_split(result.path, manifest, "train").images, strict=True):
        content = (path / name).read_bytes()
        assert np.array_equal(prepare(content, package.geometry), image)
    rows = dict(manifest_summary(result.path, manifest)[0].rows)
    assert rows["value range"] == "as each file states, else integers 0 to 4095"
    wide = run_ingest(spark, path, tmp_path / "data", value_range=[0, 8190])
    assert wide.manifest.version != manifest.version
    assert wide.manifest.pixel_mean[0] == pytest.approx(manifest.pixel_mean[0] / 2, rel=0.02)
    again = run_ingest(spark, path, tmp_path / "data")
    assert again.existed
    assert again.manifest.version == manifest.version
    narrow = run_ingest(spark, path, tmp_path / "data", value_range="dtype")
    assert narrow.manifest.pixel_std[0] < 6
    warned = capsys.readouterr().err
    assert "under a tenth of the range" in warned
    assert "dataset.image.value_range" in warned


@pytest.mark.spark
def test_a_constant_channel_is_refused(spark, tmp_path):
    def write(label, i):
        values = np.full((24, 24), 7, np.uint8)
        return pixels.tiff(values, {305: f"{label} {i}\0".encode()})

    with pytest.raises(SourceError, match="one value, 7, in all training images"):
        run_ingest(spark, folder(tmp_path / "images", write), tmp_path / "data")
    assert not list((tmp_path / "data").glob("x/*/manifest.json"))


def test_a_dataset_with_a_constant_channel_is_not_trained_on(tmp_path):
    """Versions before 1.0 wrote such datasets."""
    images = np.full((20, 8, 8, 1), 7, np.uint8)
    folder = tmp_path / "data" / "arrays" / "1"
    manifest = write_arrays(folder, "train", images, np.arange(20) % 2)
    splits = {**manifest.splits, "validation": manifest.splits["train"]}
    constant = replace(manifest, splits=splits, pixel_mean=[7.0], pixel_std=[0.0])
    (folder / NAME).write_text(constant.dumps())
    config = Config(dataset=DatasetConfig(name="arrays", version="1", root=str(tmp_path / "data")))
    for check in (lambda: prepare_training(config, build), lambda: check_networks(build, [("x", config)], constant)):
        with pytest.raises(SourceError, match="channel 0 has one value, 7, in all training arrays"):
            check()


@pytest.mark.parametrize(("dtype", "low", "high"), [("i2", -1024, 3071), ("i4", -1024, 3071), ("f4", 0, 1)])
def test_compressed_values_in_big_endian_order_are_not_swapped(dtype, low, high):
    content = pixels.big_endian_compressed(dtype)
    assert extremes(content)[1:] == (low, high)
    close(content, linear(low, high))


@pytest.mark.parametrize(("dtype", "high"), [("u2", 65535), ("u2", 4095), ("f4", 1)])
def test_deep_grey_of_which_0_is_white_is_inverted(dtype, high):
    close(pixels.white_is_zero(dtype, high), 255 - linear(0, high))


def test_colours_in_compressed_planes_are_read_or_refused():
    """Of 12 bits in 16, the upper bytes alone would be almost black."""
    close(pixels.twelve_bit_colours_in_compressed_planes(65535), linear(0, 65535), channels=3)
    with pytest.raises(BadImage, match="separate planes"):
        decode(pixels.twelve_bit_colours_in_compressed_planes(), 3)


def test_a_frame_larger_than_the_screen_is_too_large():
    with pytest.raises(BadImage) as refused:
        decode(pixels.gif_with_a_huge_frame(), 3)
    assert refused.value.reason == "too_large"
