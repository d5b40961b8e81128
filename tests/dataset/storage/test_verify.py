"""A version is what its manifest says, or every difference is named."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from convoy.dataset.storage.manifest import NAME
from convoy.dataset.storage.verify import verify
from tests.dataset.versions import CLASSES, samples, write_file, write_version

PART = "train/part-00001.parquet"


@pytest.fixture
def version(tmp_path):
    return write_version(tmp_path, "aaa", [*samples(7), *samples(3, "test")], quarantined=2)


def change_manifest(version, change):
    values = json.loads((version / NAME).read_text())
    change(values)
    (version / NAME).write_text(json.dumps(values))


def test_whole_version_has_no_problems(version):
    (version / "pictures").mkdir()
    (version / "pictures" / "samples.png").write_bytes(b"PNG")
    assert verify(version) == []


def test_weights_are_a_column_where_the_manifest_says_so(version, tmp_path):
    weighted = write_version(tmp_path, "bbb", samples(7), weights={})
    assert verify(weighted) == []
    for path, flag, has in ((weighted, False, "a"), (version, True, "no")):
        change_manifest(path, lambda values, flag=flag: values.update(weighted=flag))
        (problem, *_) = verify(path)
        assert problem == f"train: its files have {has} column 'weight', the manifest says otherwise"


def test_one_flipped_bit_is_found(version):
    damaged = bytearray((version / PART).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (version / PART).write_bytes(damaged)
    (problem,) = verify(version)
    assert problem.startswith(f"{PART}: SHA-256 is ")


def test_truncated_file_is_found_by_its_size(version):
    whole = (version / PART).read_bytes()
    (version / PART).write_bytes(whole[:-1])
    assert verify(version) == [f"{PART}: {len(whole) - 1:,} bytes, the manifest says {len(whole):,}"]


def test_missing_and_extra_files_are_named(version):
    (version / PART).rename(version / "train" / ".part-00001.parquet-0123abcd")
    (version / "notes.txt").write_text("mine")
    (version / "quarantine" / "deep").mkdir()
    (version / "quarantine" / "deep" / "part-00000.parquet").write_text("")
    assert verify(version) == [
        f"{PART}: is missing",
        "notes.txt: is not in the manifest",
        "quarantine/deep/part-00000.parquet: is not in the manifest",
        "train/.part-00001.parquet-0123abcd: is not in the manifest",
    ]


def test_footer_with_other_row_groups_is_found_though_the_checksum_agrees(version):
    change_manifest(version, lambda values: values["splits"]["train"]["files"][1].update(row_groups=[3]))
    assert f"{PART}: row groups of [2, 1] rows, the manifest says [3]" in verify(version)


def test_file_that_is_no_parquet_is_found_though_the_checksum_agrees(version):
    def change(values):
        (version / PART).write_text("no")
        values["splits"]["train"]["files"][1].update(
            bytes=2, sha256="9390298f3fb0c5b160498935d79cb139aef28e1c47358b4bbba61862b9c26e59"
        )

    change_manifest(version, change)
    (problem,) = verify(version)
    assert problem.startswith(f"{PART}: is not a Parquet file")


def test_labels_that_are_not_those_counted_are_found(version):
    entry = write_file(version / PART, [(*row[:3], "dog") for row in samples(7)[4:]], list(CLASSES))

    def change(values):
        values["splits"]["train"]["files"][1].update(bytes=entry.bytes, sha256=entry.sha256)

    change_manifest(version, change)
    assert verify(version) == ["train: the labels in its files are not those that the manifest counts per class"]


def test_counts_that_do_not_add_up_are_found(version):
    change_manifest(version, lambda values: values["splits"]["test"]["per_class"].update(cat=5, cow=0))
    assert verify(version) == [
        "test: the counts per class add up to 6, the manifest says 3 rows",
        "test: counts per class and the list of classes do not agree on 'cow'",
        "test: the labels in its files are not those that the manifest counts per class",
    ]
    change_manifest(version, lambda values: values["splits"]["train"].update(rows=8))
    assert "train: its files hold 7 rows, the manifest says 8" in verify(version)


def test_petastorm_metadata_has_to_open_and_to_agree(version):
    metadata = version / "train" / "_common_metadata"
    shutil.copy(version / "test" / "_common_metadata", metadata)
    assert verify(version) == ["train/_common_metadata: counts other row groups than the manifest"]
    schema = pq.read_schema(metadata)
    keys = dict(schema.metadata)
    unischema = next(key for key in keys if b"unischema" in key)
    pq.write_metadata(schema.with_metadata({**keys, unischema: b"garbage"}), metadata)
    (problem,) = verify(version)
    assert problem.startswith("train/_common_metadata: is not Petastorm's metadata (UnpicklingError")
    metadata.unlink()
    assert verify(version) == ["train/_common_metadata: is missing"]


def test_quarantine_has_to_be_complete(version):
    change_manifest(version, lambda values: values.update(quarantined=3))
    assert verify(version) == ["quarantine: lists 2 files, the manifest says 3"]
    shutil.rmtree(version / "quarantine")
    assert verify(version) == ["quarantine: lists 0 files, the manifest says 3"]


def test_renamed_folder_and_damaged_manifest_are_named(version):
    renamed = version.rename(version.with_name("bbb"))
    assert verify(renamed) == ["manifest.json is of version aaa, but the folder is named bbb"]
    (renamed / NAME).write_text("{")
    (problem,) = verify(renamed)
    assert "manifest.json cannot be read" in problem
