"""The picture of a network, which Graphviz draws where it is installed."""

import io
import os

import pytest
from keras import layers
from PIL import Image

from convoy.errors import ConfigError
from convoy.models.summary import picture
from convoy.models.summary.picture import can_draw, write_picture
from tests.models.networks import chain

needs_graphviz = pytest.mark.skipif(not can_draw(), reason="Graphviz or pydot is not installed")


@pytest.fixture
def network():
    return chain((16, 16, 1), layers.Conv2D(2, 3, activation="relu"), layers.Flatten(), layers.Dense(3), name="small")


@needs_graphviz
def test_the_file_name_chooses_the_format(network, tmp_path):
    for name, begins in (("a.png", b"\x89PNG"), ("a.PNG", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")):
        write_picture(network, str(tmp_path / name))
        assert (tmp_path / name).read_bytes().startswith(begins)
    assert Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())).height > 200
    drawn = (tmp_path / "a.svg").read_text()
    assert all(text in drawn for text in ("(None, 14, 14, 2)", "Conv2D", "relu", "(None, 3)"))


@needs_graphviz
@pytest.mark.parametrize(
    "make",
    [
        lambda: chain((500, 2), layers.Conv1D(4, 7), layers.GlobalAveragePooling1D(), name="signal"),
        lambda: chain((9, 9, 9, 1), layers.Conv3D(4, 3), layers.Flatten(), layers.Dense(2), name="volume"),
        lambda: chain((7,), chain((7,), layers.Dense(4), name="inner"), layers.Dense(2), name="nested"),
    ],
    ids=["signal", "volume", "nested"],
)
def test_networks_of_every_rank_are_drawn(make, tmp_path):
    write_picture(make(), str(tmp_path / "a.png"))
    assert Image.open(tmp_path / "a.png").width > 50


@needs_graphviz
def test_a_file_that_cannot_be_written_is_named(network):
    with pytest.raises(ConfigError, match=r"'/no/n\.png' cannot be written: No such file"):
        write_picture(network, "/no/n.png")


def test_without_graphviz_the_error_says_what_to_install(network, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not can_draw()
    with pytest.raises(ConfigError, match=r"'a.png' needs Graphviz and pydot; install both") as error:
        write_picture(network, "a.png")
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == []


def test_a_graphviz_that_fails_leaves_the_file_as_it_was(network, tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        print('"dot" returned code: 1')
        raise AssertionError('"dot" returned code: 1\nmore')

    monkeypatch.setattr(picture, "can_draw", lambda: True)
    monkeypatch.setattr(picture.keras.utils, "model_to_dot", fail)
    (tmp_path / "a.png").write_bytes(b"before")
    with pytest.raises(ConfigError, match=r"the network small cannot be drawn by Graphviz: .*code: 1$"):
        write_picture(network, str(tmp_path / "a.png"))
    assert (tmp_path / "a.png").read_bytes() == b"before"
    assert capsys.readouterr().out == ""  # stdout has only the JSON line
