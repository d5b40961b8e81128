"""Files of every kind under an image's name: read, repaired, or refused by the name of what they are."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, features

from convoy.config import DatasetConfig, ImageConfig, SourceConfig, StorageConfig
from convoy.dataset.ingest.build import ingest
from convoy.dataset.sources import source_of
from convoy.errors import SourceError
from convoy.images import BadImage, Geometry, ValueRange, decode, extremes, fits, identify, prepare_measured
from tests.field.inputs import files, pixels

GEOMETRY = Geometry(24, 32, 3, "none")


def refusal(content):
    with pytest.raises(BadImage) as refused:
        decode(content, 3)
    return refused.value


def notes_of(content):
    notes = []
    prepare_measured(content, GEOMETRY, notes)
    return notes


@pytest.mark.parametrize("name", files.NAMED)
def test_what_is_not_read_is_named(name):
    reason, content = files.NAMED[name]
    bad = refusal(content)
    assert bad.reason == reason
    assert name in bad.detail
    with pytest.raises(BadImage, match=reason):
        identify(content)


def test_a_jpeg_of_twelve_bits_is_named():
    bad = refusal(files.twelve_bit_jpeg())
    assert (bad.reason, "12 bits" in bad.detail) == ("unsupported", True)


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_netpbm(mode):
    image = files.picture().convert(mode)
    content = files.saved("PPM", image)
    assert np.array_equal(decode(content, 3), np.asarray(image.convert("RGB")))
    assert (identify(content).kind, identify(content).width) == ("ppm", 32)


@pytest.mark.parametrize("kind", ["P2", "P3"])
def test_plain_netpbm(kind):
    content = f"{kind}\n# a comment\n2 1\n255\n".encode() + (b"7 250\n" if kind == "P2" else b"1 2 3 250 251 252\n")
    assert decode(content, 3).ravel().tolist() == ([7] * 3 + [250] * 3 if kind == "P2" else [1, 2, 3, 250, 251, 252])


def test_netpbm_of_other_maxima_is_scaled_by_them():
    content = b"P5 3 1 4095\n" + np.array([0, 2048, 4095], ">u2").tobytes()
    assert decode(content, 1).ravel().tolist() == [0, 128, 255]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_targa_has_no_signature_and_is_recognised(mode):
    image = files.picture().convert(mode)
    expected = np.asarray(image.convert("RGB"))
    for options in ({}, {"compression": "tga_rle"}):
        content = files.saved("TGA", image, **options)
        assert np.array_equal(decode(content.removesuffix(content[-26:]), 3), expected), options
        assert identify(content).kind == "tga"


def test_icons_are_read_and_their_images_measured_first():
    image = files.picture(16, 16).convert("RGBA")
    assert np.array_equal(decode(files.saved("ICO", image, sizes=[(16, 16)]), 3), np.asarray(image)[:, :, :3])
    assert refusal(files.icon_of_another_size()).reason == "too_large"


@pytest.mark.parametrize(("kind", "feature"), [("JPEG2000", "jpg_2000"), ("AVIF", "avif")])
def test_optional_formats_of_pillow(kind, feature):
    if feature not in features.get_supported():
        pytest.skip("this build of Pillow does not have it")
    content = files.saved(kind, quality=95) if kind == "AVIF" else files.saved(kind)
    difference = np.abs(decode(content, 3).astype(int) - np.asarray(files.picture())).mean()
    assert difference < (12 if kind == "AVIF" else 0.1)
    assert (identify(content).height, identify(content).width) == (24, 32)


@pytest.mark.parametrize(("start", "package"), [(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heic"), (bytes(128), "dicom")])
def test_formats_of_extras_name_their_package(start, package, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    bad = refusal(start + b"DICM" + bytes(60))
    assert bad.reason == "unsupported"
    assert f"convoy-ml[{package}]" in bad.detail


STRAY = ["between_segments", "after_the_first_marker", "before_the_first_marker", "before_the_scan"]


@pytest.mark.parametrize("place", STRAY)
def test_stray_bytes_of_a_jpeg_are_skipped_and_counted(place):
    content = getattr(files, f"stray_bytes_{place}")()
    assert np.array_equal(decode(content, 3), decode(files.jpeg(), 3))
    assert notes_of(content) == ["stray_bytes"]
    assert identify(content).width == 32


def test_padding_before_the_end_of_a_jpeg_is_skipped():
    assert np.array_equal(decode(files.zeros_before_the_last_marker(), 3), decode(files.jpeg(), 3))
    assert notes_of(files.zeros_before_the_last_marker()) == ["stray_bytes"]


def test_a_bad_profile_of_a_jpeg_is_ignored_and_counted():
    assert np.array_equal(decode(files.bad_icc_marker(), 3), decode(files.jpeg(), 3))
    assert notes_of(files.bad_icc_marker()) == ["bad_segment"]
    assert notes_of(files.jpeg()) == []


def test_a_repaired_jpeg_keeps_its_orientation():
    content = files.saved("JPEG", exif=files.exif(6))
    at = content.index(b"\xff\xc0")
    assert decode(content[:at] + b"\0" + content[at:], 3).shape == (32, 24, 3)


def test_damaged_pixels_of_a_jpeg_stay_refused():
    assert refusal(files.damaged_scan()).reason == "corrupt"
    stray = files.stray_bytes_between_segments()
    assert refusal(stray[: len(stray) * 3 // 4]).reason == "truncated"


@pytest.mark.parametrize("name", [b"tEXt", b"iCCP", b"pHYs", b"prIv"])
def test_a_bad_checksum_beside_the_pixels_of_a_png_is_ignored_and_counted(name):
    content = files.png_bad_ancillary_checksum(name)
    assert np.array_equal(decode(content, 3), np.asarray(files.picture()))
    assert notes_of(content) == ["bad_chunk"]
    assert not fits(identify(content), GEOMETRY)


@pytest.mark.parametrize("name", [b"tRNS", b"iDAT", b"IDAt"])
def test_a_bad_checksum_of_what_may_be_pixels_is_refused(name):
    assert refusal(files.png_bad_ancillary_checksum(name)).reason == "corrupt"


def test_damaged_pixels_of_a_png_stay_refused():
    assert refusal(files.png_bad_pixel_checksum()).reason == "corrupt"
    assert refusal(files.png_bad_palette_name()).reason == "corrupt"


@pytest.mark.parametrize("write", ["jpeg_with_xmp", "png_with_xmp", "png_with_raw_profile", "webp_with_xmp", "tiff"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_orientation_without_exif(write, orientation):
    content = pixels.xmp_only_tiff(orientation) if write == "tiff" else getattr(files, write)(orientation)
    upright = decode(content, 1)[:, :, 0]
    corners = [upright[0, 0], upright[0, -1], upright[-1, -1], upright[-1, 0]]  # clockwise from the top left
    assert int(np.argmax(corners)) == {1: 0, 6: 1, 3: 2, 8: 3}[orientation]
    info = identify(content)
    assert (info.height, info.width) == upright.shape == ((16, 32) if orientation < 5 else (32, 16))
    assert info.plain == (orientation == 1)


def test_lab_becomes_grey():
    assert decode(pixels.lab_tiff(), 1)[0, 0, 0] == pytest.approx(119, abs=1)


PRINTED = """
import io, sys
import numpy as np
from convoy.images import BadImage, decode
from tests.field.inputs import files, pixels
from PIL import Image

damaged = bytearray(files.saved("TIFF", compression="tiff_lzw"))
damaged[40:120] = bytes(80)
for content in [
    files.png_with_profile_that_libpng_warns_of(), files.damaged_scan(), bytes(damaged), files.bad_icc_marker(),
    files.saved("TIFF", compression="tiff_adobe_deflate")[:200], pixels.tiff(np.zeros((4, 4), np.uint8), {65000: 1}),
    files.png_bad_ancillary_checksum(b"iCCP"),
]:
    try:
        decode(content, 3)
    except BadImage:
        pass
"""


def test_native_decoders_print_nothing():
    done = subprocess.run([sys.executable, "-c", PRINTED], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.spark
def test_a_class_of_unreadable_files_is_refused_with_an_example(spark, tmp_path, capsys):
    for name, content in (("a", files.saved("PNG")), ("b", files.NAMED["HTML"][1])):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(6):
            shade = Image.fromarray(np.asarray(files.picture()) // (i + 1))
            data = files.saved("PNG", shade) if name == "a" else content + bytes([65 + i])
            (tmp_path / "images" / name / f"{i}.png").write_bytes(data)
    config = DatasetConfig(root=str(tmp_path / "data"), name="x", image=ImageConfig(8, 8, 3))
    source = source_of(SourceConfig("folder", str(tmp_path / "images")))
    with pytest.raises(SourceError, match=r"'b' has no readable image .*not_an_image: 6.*'b/\d\.png': an HTML page"):
        ingest(spark, source, config, lambda *_: None)


@pytest.mark.spark
def test_repairs_are_counted_and_printed(spark, tmp_path, capsys):
    for name in "ab":
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(8):
            shade = Image.fromarray(np.asarray(files.picture()) // (i + 1) + (name == "b"))
            data = bytearray(files.saved("JPEG", shade))
            if i < 3:
                at = data.index(b"\xff\xc0")
                data[at:at] = b"\0\1"
            (tmp_path / "images" / name / f"{i}.jpg").write_bytes(data)
    config = DatasetConfig(
        root=str(tmp_path / "data"),
        name="x",
        image=ImageConfig(24, 32, 3, "none"),
        storage=StorageConfig(codec="keep"),
        validation_fraction=0.0,
        test_fraction=0.0,
    )
    source = source_of(SourceConfig("folder", str(tmp_path / "images")))
    result = ingest(spark, source, config, lambda *_: None)
    assert result.manifest.notes == {"stray_bytes": 6}
    assert result.manifest.quarantined == 0
    assert "repaired 6 images" in capsys.readouterr().err
    stored = pq.read_table(result.path / "train").to_pylist()
    kept = {row["path"]: row["image"][:3] == b"\xff\xd8\xff" for row in stored}
    assert kept == {f"{name}/{i}.jpg": i >= 3 for name in "ab" for i in range(8)}  # other decoders may refuse the rest


@pytest.mark.spark
def test_a_proposal_without_a_readable_image_has_an_example(spark, tmp_path):
    for name in "ab":
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(3):
            (tmp_path / "images" / name / f"{i}.png").write_bytes(
                files.NAMED["JSON"][1] + b" " * (i + 3 * (name == "b"))
            )
    config = DatasetConfig(root=str(tmp_path / "data"), name="x", image=ImageConfig(resize="auto"))
    source = source_of(SourceConfig("folder", str(tmp_path / "images")))
    with pytest.raises(SourceError, match=r"For example '[ab]/\d\.png': a JSON document"):
        ingest(spark, source, config, lambda *_: None)


def test_the_corpus_tool_finds_refusals_and_differences(tmp_path):
    (tmp_path / "good.png").write_bytes(files.saved("PNG"))
    (tmp_path / "deep.tif").write_bytes(pixels.twelve_bits_in_sixteen())
    (tmp_path / "other.pcx").write_bytes(files.saved("PCX"))
    (tmp_path / "broken.png").write_bytes(files.png_bad_pixel_checksum())
    tool = Path(__file__).parents[2] / "tools" / "decode_corpus.py"
    done = subprocess.run([sys.executable, tool, tmp_path], capture_output=True, text=True, timeout=600)
    lines = {" ".join(line.split()) for line in done.stdout.splitlines()}
    assert done.returncode == 0, done.stderr
    assert {"files 4", "both decode 2", "of these, equal 1", "different 0", "more than 8 bits, not compared 1"} <= lines
    assert {"refused by Convoy only 1", "of these, of supported formats 0", "other unsupported 1 PCX 1"} <= lines


def heic(orientation):
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(files.picture()).save(file, quality=95, exif=files.exif(orientation))
    return file.getvalue()


def test_heic():
    difference = np.abs(decode(heic(1), 3).astype(int) - np.asarray(files.picture())).mean()
    assert difference < 12
    assert (identify(heic(1)).kind, identify(heic(1)).height) == ("heic", 24)


STORED = pixels.ramp(0, 4095, np.uint16)


def test_dicom_uses_its_stored_bits():
    content = dicom(STORED)
    expected = STORED / 4095 * 255
    assert np.abs(decode(content, 1)[:, :, 0] - expected).max() <= 1
    inverted = dicom(STORED, PhotometricInterpretation="MONOCHROME1")
    assert np.abs(decode(inverted, 1)[:, :, 0] - (255 - expected)).max() <= 1
    assert identify(content).kind == "dicom"
    assert extremes(content) is None


def test_dicom_in_hounsfield_units():
    ct = dicom(STORED, RescaleSlope=1, RescaleIntercept=-1024)
    assert extremes(ct) == ("integers", -1024, 3071)
    found = decode(ct, 1, ValueRange.from_setting([-1000, 400]))[:, :, 0]
    assert np.abs(found - np.clip((STORED - 24.0) / 1400, 0, 1) * 255).max() <= 1
    window = dicom(STORED, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400)
    found = decode(window, 1)[:, :, 0]
    assert np.abs(found - np.clip((STORED - 864.0) / 400, 0, 1) * 255).max() <= 1


def test_dicom_of_colours_and_damage():
    colours = np.asarray(files.picture())
    assert np.array_equal(decode(dicom(colours), 3), colours)
    assert refusal(dicom(STORED)[:-100]).reason == "truncated"
    assert refusal(dicom(STORED, Rows=50_000, Columns=50_000)).reason == "too_large"


def dicom(values, **elements):
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data = pydicom.dataset.FileDataset("x.dcm", {}, file_meta=meta, preamble=bytes(128))
    data.Rows, data.Columns = values.shape[:2]
    data.SamplesPerPixel = 3 if values.ndim == 3 else 1
    data.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    if values.ndim == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated = 8 * values.dtype.itemsize
    data.BitsStored = 12 if data.BitsAllocated == 16 else 8
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, 0
    data.PixelData = values.tobytes()
    for name, value in elements.items():
        setattr(data, name, value)
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()
