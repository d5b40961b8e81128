"""Files that are damaged, or hold what the manifest does not say, are named."""

import pytest

from convoy.dataset.reading.examples import read_split
from convoy.dataset.reading.split_reader import ReadSettings, open_split
from convoy.dataset.reading.tf_data import reading_errors, to_tf
from convoy.errors import DatasetError
from tests.dataset.epochs import BATCH, IMAGES, LABELS, ROWS, WINDOW, epoch_of
from tests.dataset.versions import write_arrays


def damaged(folder, how):
    """Damage the second file: in the middle of its pages, or at its end."""
    path = folder / "train" / "part-00001.parquet"
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "lengths":  # of the values in the first page of the image column: they have no checksum
        at = content.index(b"\x93NUMPY") - 4
        content[at : at + 4] = b"\xff\xff\xff\x7f"
    elif how == "pixels":
        content[content.index(b"IDAT") + 12] ^= 0xFF
    elif how == "exchanged":
        content = bytearray((folder / "train" / "part-00004.parquet").read_bytes())
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("cache", ["memory", "none"])
@pytest.mark.parametrize(
    ("codec", "how"), [("raw", "truncated"), ("raw", "lengths"), ("png", "pixels"), ("raw", "exchanged")]
)
def test_a_damaged_file_is_named(tmp_path, cache, codec, how):
    manifest = write_arrays(tmp_path, "train", IMAGES, LABELS, None, codec)
    path = damaged(tmp_path, how)
    with pytest.raises(DatasetError, match=f"^{path} .*ingest the dataset again") as caught:
        epoch_of(open_split(tmp_path, manifest, "train", ReadSettings(cache, window_mb=WINDOW)))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_damaged_while_training_is_named(tmp_path):
    manifest = write_arrays(tmp_path, "train", IMAGES, LABELS, None, "png")
    reader = open_split(tmp_path, manifest, "train", ReadSettings("none", window_mb=WINDOW))
    path = damaged(tmp_path, "pixels")
    with pytest.raises(DatasetError, match=str(path)):
        epoch_of(reader)
    with pytest.raises(DatasetError, match=f"^{path} .*ingest the dataset again$"), reading_errors():
        list(to_tf(lambda: reader.batches(0, BATCH, 0, 1), reader.first()))


def test_a_label_beyond_the_classes_is_refused(tmp_path):
    manifest = write_arrays(tmp_path, "train", IMAGES, LABELS)
    manifest.classes.remove("9")
    assert len(read_split(tmp_path, manifest, "train")) == ROWS
    del manifest.classes[4:]
    with pytest.raises(DatasetError, match="labels beyond the 4 classes"):
        read_split(tmp_path, manifest, "train")
