"""Files in an object store: a part of pathlib's interface, on a real server, with faults."""

import errno
import http.client
import io
import os
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from convoy.config.locations import stored_field
from convoy.dataset.storage import object_path
from convoy.dataset.storage.object_path import ObjectPath, local_copy, remove_all, store_problem
from convoy.errors import ConfigError
from tests.object_store import BUCKET

LONG = pytest.mark.long


@pytest.fixture
def place(s3):
    return ObjectPath(s3)


@pytest.fixture
def impatient(monkeypatch):
    """Gives up soon."""
    monkeypatch.setattr(object_path, "RETRY_SECONDS", 0.3)


def test_paths_are_made_as_those_of_files():
    path = ObjectPath("s3://b/a") / "x y.parquet"
    assert str(path) == "s3://b/a/x y.parquet"
    assert (path.name, path.suffix, path.parent) == ("x y.parquet", ".parquet", ObjectPath("s3://b/a"))
    assert path.with_name("z").relative_to(ObjectPath("s3://b")) == "a/z"
    assert pickle.loads(pickle.dumps(path)) == path
    with pytest.raises(TypeError):  # it is not taken for a local path
        os.fspath(path)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("s3a://b/x/", "s3://b/x"),
        ("S3://b//x", "s3://b/x"),
        (" s3n://b/x y+z%20ä ", "s3://b/x y+z%20ä"),
        ("s3://b", "s3://b"),
        ("work/x", "work/x"),
    ],
)
def test_urls_of_s3_have_one_form(monkeypatch, given, expected):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert stored_field("dataset.root", given) == expected


@pytest.mark.parametrize("given", ["s3:/b/x", "s3:b/x", "s3://", "s3:///x", "s3://b/x?versionId=1", "s3://b/*"])
def test_wrong_urls_of_s3_are_refused(given):
    with pytest.raises(ConfigError, match="expected a URL of S3 as s3://bucket/folder"):
        stored_field("dataset.root", given)


def test_a_url_without_the_package_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"dataset.root is 's3://b/x'; .* package s3fs.*convoy-ml\[s3\]"):
        stored_field("dataset.root", "s3://b/x")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2024.10.0")  # it would replace existing objects
    with pytest.raises(ConfigError, match=r"s3fs, 2024\.12 or newer"):
        stored_field("dataset.root", "s3://b/x")


def test_objects_are_written_listed_read_and_removed(place, tmp_path):
    assert not place.exists()
    assert list(place.iterdir()) == [] == place.files()
    (place / "a" / "1.txt").write_text("ä")
    (place / "a" / "2 +%20.bin").write_bytes(b"12345")
    (place / "a").mkdir()
    assert (place / "a").is_dir()
    assert not (place / "a").is_file()
    assert (place / "a" / "1.txt").is_file()
    assert not (place / "a" / "1.txt").is_dir()
    assert list(place.iterdir()) == [place / "a"]
    assert place.entries() == [(place / "a", True)]
    assert [path.name for path in (place / "a").glob("*.txt")] == ["1.txt"]
    assert [(path.name, status.st_size) for path, status in place.files()] == [("1.txt", 2), ("2 +%20.bin", 5)]
    assert (place / "a" / "1.txt").read_text() == "ä"
    with local_copy(place / "a" / "2 +%20.bin") as copy:
        assert copy.read_bytes() == b"12345"
    (tmp_path / "file").write_bytes(b"x" * 100)
    (place / "up").upload(tmp_path / "file")
    assert (place / "up").stat().st_size == 100
    (place / "up").copy_to(place / "copy")
    assert (place / "copy").read_bytes() == b"x" * 100
    (place / "a" / "1.txt").unlink()
    (place / "a" / "1.txt").unlink(missing_ok=True)
    remove_all([place / "copy", place / "not there"])
    place.remove_tree()
    assert not place.exists()


def test_objects_that_stand_for_folders_are_not_files(place, s3_server):
    (place / "cat" / "1.png").write_bytes(b"1")
    for name in ("", "/cat", "/empty"):
        connection = http.client.HTTPConnection("127.0.0.1", s3_server, timeout=60)
        connection.request("PUT", f"{str(place).removeprefix('s3:/')}{name}/")
        assert connection.getresponse().status == 200
    assert [path for path, _ in place.files()] == [place / "cat" / "1.png"]
    assert place.entries() == [(place / "cat", True), (place / "empty", True)]
    assert (place / "empty").entries() == []


def test_a_missing_object_or_bucket_is_named(place, tmp_path):
    for call in (place.read_bytes, place.stat, place.open, lambda: place.download(tmp_path / "x")):
        with pytest.raises(FileNotFoundError) as missing:
            call()
        assert missing.value.filename == str(place)
    elsewhere = ObjectPath("s3://no-such-bucket/x")
    for change in (elsewhere.entries, elsewhere.files, lambda: elsewhere.write_bytes(b"1")):
        with pytest.raises(FileNotFoundError, match="there is no such bucket"):
            change()


def test_one_of_several_creates_an_object(place):
    assert place.create(b"first")
    assert not place.create(b"second")
    assert place.read_bytes() == b"first"


def test_an_answer_that_is_lost_does_not_hide_who_was_first(faulty, place):
    lost = iter(["lost"])
    faulty.fault = lambda method, path, _: next(lost, None) if method == "PUT" else None
    assert place.create(b"mine")
    assert not place.create(b"theirs")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(503, marks=LONG),
        pytest.param(500, marks=LONG),
        "cut",
        pytest.param("lost", marks=LONG),
        pytest.param(0.2, marks=LONG),
    ],
)
def test_faults_that_pass_are_not_seen(faulty, place, tmp_path, fault):
    content = os.urandom(100_000)
    (tmp_path / "file").write_bytes(content)
    seen: set[tuple[str, str]] = set()

    def first_time(method, path, _):
        if (method, path) in seen or (fault == "cut" and method != "GET"):
            return None
        seen.add((method, path))
        return fault

    faulty.fault = first_time
    (place / "a").upload(tmp_path / "file")
    (place / "b").write_bytes(content)
    assert (place / "a").read_bytes() == (place / "b").read_bytes() == content
    with (place / "a").open() as file:
        assert file.read_at(50_000, 60_000) == content[50_000:60_000]
    assert [path.name for path, _ in place.files()] == ["a", "b"]
    assert len(seen) > 2


@pytest.mark.long
def test_a_store_that_stays_away_is_reported(faulty, place, impatient):
    (place / "a").write_bytes(b"1")
    faulty.fault = lambda *_: 503
    with pytest.raises(OSError, match=r"SlowDown|Service Unavailable") as failed:
        (place / "a").read_bytes()
    assert failed.value.filename == str(place / "a")
    assert store_problem(failed.value) == f"{failed.value.strerror}: {place}/a"


@pytest.mark.long
def test_a_page_instead_of_an_answer_is_neither_content_nor_success(faulty, place, impatient, tmp_path):
    (place / "a").write_bytes(b"1" * 1000)
    (tmp_path / "file").write_bytes(b"2" * 1000)
    faulty.fault = lambda *_: "html"
    for call in (
        lambda: (place / "a").open().read_at(0, 1000),
        lambda: (place / "b").upload(tmp_path / "file"),
        lambda: (place / "b").write_bytes(b"2" * 1000),
        lambda: (place / "b").create(b"2" * 1000),
    ):
        with pytest.raises(OSError, match=r"bytes (instead of|of) 1,000"):
            call()
    assert place.files() == []  # nothing is there: every use of that is an error, too


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((403, "AccessDenied"), "access to the store is denied"),
        ((400, "ExpiredToken"), "credentials have expired.*renew them"),
    ],
)
def test_denied_access_is_not_retried(faulty, place, answer, text):
    faulty.fault = lambda *_: answer
    for call in (place.read_bytes, lambda: place.write_bytes(b"1"), place.files):
        before = len(faulty.requests)
        with pytest.raises(PermissionError, match=text):
            call()
        assert len(faulty.requests) - before <= 2


def test_missing_credentials_are_named(s3, monkeypatch, tmp_path):
    import fsspec

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(PermissionError, match="there are no credentials for the store") as refused:
        ObjectPath(s3).read_bytes()
    assert refused.value.errno == errno.EACCES


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed(place):
    (place / "a").write_bytes(b"first content")
    with (place / "a").open() as file:
        assert file.read_at(0, 5) == b"first"
        (place / "a").write_bytes(b"other content")
        with pytest.raises(OSError, match="was replaced by another one while it was read"):
            file.read_at(6, 9)


def test_parquet_is_read_from_an_object(place):
    table = pa.table({"a": range(1000), "b": [str(i) for i in range(1000)]})
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=100)
    (place / "t.parquet").write_bytes(file.getvalue())
    with (place / "t.parquet").open() as stream:
        assert pq.ParquetFile(stream).read_row_group(3) == table.slice(300, 100)
        assert stream.seek(-4, os.SEEK_END) == stream.tell() == stream.size - 4
        assert stream.read() == b"PAR1"
        assert stream.read(5) == b""


def test_the_bucket_of_the_tests_is_whole(place):
    (place / "x").write_bytes(b"")
    assert (place / "x").read_bytes() == b""
    assert ObjectPath(f"s3://{BUCKET}").is_dir()
