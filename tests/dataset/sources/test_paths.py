"""Paths as Spark and tables spell them; what may be a class's name, and in which order classes stand."""

import pytest

from convoy.config.locations import local_path
from convoy.dataset.sources.listing import is_label, lookalikes, sorted_classes
from convoy.dataset.sources.paths import read_file


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/a/b c.png", "/a/b c.png"),
        ("a%20b.png", "a%20b.png"),
        ("file:/a/b%20c+d.png", "/a/b%20c+d.png"),  # Hadoop prints paths so, without encoding
        ("file:///a/b%20c+d%C3%BC.png", "/a/b c+dü.png"),  # a URI
        ("file://localhost/a%0Ab", "/a\nb"),
        ("s3://bucket/a%20b", "s3://bucket/a%20b"),
        ("file.png", "file.png"),
    ],
)
def test_scheme_file_is_stripped(given, expected):
    assert local_path(given) == expected


def test_uris_of_python_name_the_file_that_they_were_made_of(tmp_path):
    path = tmp_path / "ü 100%41 'x' + \n#?.png"
    path.write_bytes(b"pixels")
    assert local_path(path.as_uri()) == str(path)
    assert read_file(path.as_uri()) == read_file(f"file:{path}") == read_file(str(path)) == b"pixels"


def test_urls_are_read_with_fsspec():
    import fsspec

    fsspec.filesystem("memory").pipe("/bucket/1.png", b"pixels")
    assert read_file("memory://bucket/1.png") == b"pixels"
    with pytest.raises(FileNotFoundError):
        read_file("memory://bucket/none.png")


@pytest.mark.parametrize("path", ["/no/such/file", "nosuchscheme://a/b", "a\0b", "", "/tmp"])
def test_what_cannot_be_read_is_an_oserror(path):
    with pytest.raises(OSError, match=r".+"):
        read_file(path)


@pytest.mark.parametrize("label", ["cat", "7", "-1", "..x", ".NET", "große Katze", "a:b", "x" * 200])
def test_labels(label):
    assert is_label(label)


@pytest.mark.parametrize(
    "label", ["", " ", ".", "..", "...", ".. .", "a/b", "../x", "/", "a\\b", "a\nb", "a\0", "\x7f"]
)
def test_labels_that_cannot_be_the_name_of_a_folder(label):
    assert not is_label(label)


def test_integers_are_sorted_by_value_and_others_as_strings():
    assert sorted_classes(["10", "9", "-1", "0", "9"]) == ["-1", "0", "9", "10"]
    assert sorted_classes(["10", "9", "b", "B"]) == ["10", "9", "B", "b"]
    assert sorted_classes(["10", "09"]) == ["09", "10"]  # no number is written with a leading zero


def test_names_that_look_alike_are_found():
    names = ["cat", "Cat ", "dog", "Stra\u00dfe", "STRASSE", "caf\u00e9", "cafe\u0301", "1", "01", "a b", "ab"]
    assert lookalikes(names) == [
        ["Cat ", "cat"],
        ["STRASSE", "Stra\u00dfe"],
        ["a b", "ab"],
        ["cafe\u0301", "caf\u00e9"],
    ]
    assert lookalikes(["0", "1", "10", "a", "b", "a-b", "a_b"]) == []
