"""``convoy describe``: text for people on stderr, one JSON line on stdout, no dataset needed, and one used if there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from convoy.models.summary.picture import can_draw
from jobs import describe
from tests.dataset.versions import samples, write_version

ROOT = Path(__file__).resolve().parents[2]
SIZE = ["--dataset.image.height", "32", "--dataset.image.width", "32", "--dataset.image.channels", "1"]


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        """Returns (exit status, the JSON line or None, what people read)."""
        status = describe.main([*arguments])
        captured = capsys.readouterr()
        return status, json.loads(captured.out) if captured.out else None, captured.err

    return run


@pytest.mark.long
@pytest.mark.e2e
def test_as_a_process_it_needs_nothing_but_a_name_and_a_size(tmp_path):
    arguments = ["--model.name", "lenet5", *SIZE, "--num_classes", "10"]
    process = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / "describe.py"), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert process.returncode == 0, process.stderr
    result = json.loads(process.stdout)
    assert (result["job"], result["name"], result["parameters"]) == ("describe", "lenet5", 61_706)
    assert "layers" not in result
    assert "(14-5+0)/1+1 = 10" in process.stderr
    assert "lenet5: 32x32x1 -> 10, 10 layers" in process.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", [["--json"], ["--json", "true"], ["--json=true"]])
def test_json_has_all_layers_and_no_text(command, flag):
    status, result, text = command(*SIZE, *flag, "--num_classes", "7")
    assert (status, text) == (0, "")
    assert [layer["name"] for layer in result["layers"]][-1] == "output"
    assert result["layers"][-1]["output"] == [7]
    assert command(*SIZE, "--num_classes", "7", "--json", "false")[2] != ""


def test_dataset_tells_shape_and_classes_unless_they_are_given(command, tmp_path):
    write_version(tmp_path / "sets", "aaa", samples(7))
    manifest = json.loads((tmp_path / "sets" / "animals" / "aaa" / "manifest.json").read_text())
    manifest["image"] |= {"height": 33, "width": 40}
    (tmp_path / "sets" / "animals" / "aaa" / "manifest.json").write_text(json.dumps(manifest))
    found = ["--dataset.root", "sets", "--dataset.name", "animals", "--json"]
    layers = command(*found)[1]["layers"]
    assert layers[0]["output"] == [33, 40, manifest["image"]["channels"]]
    assert layers[-1]["output"] == [len(manifest["classes"])]
    layers = command(*found, *SIZE, "--num_classes", "9")[1]["layers"]
    assert (layers[0]["output"], layers[-1]["output"]) == ([32, 32, 1], [9])


def test_batch_and_precision_come_from_the_experiment(command, tmp_path):
    (tmp_path / "mine.yaml").write_text("training: {num_workers: 4, global_batch_size: 90}\nmodel: {name: mnist_cnn}\n")
    result = command("--config", "mine.yaml", "--num_classes", "10")[1]
    assert (result["name"], result["ranks"], result["global_batch"], result["batch"]) == ("mnist_cnn", 4, 90, 23)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "num_classes is missing and no dataset tells it: there is no dataset 'images' under 'work/datasets'"),
        (["--num_classes", "0"], "num_classes is 0; expected at least 1"),
        (["--num_class", "3"], "unknown field 'num_class'; did you mean 'num_classes'?"),
        (["--num_classes", "3", "--model.name", "lenet"], "did you mean 'lenet5'?"),
        (["--num_classes", "3", "--dataset.image.height", "4"], "lenet5 does not fit images of 4x32x3: layer 'c1'"),
        (["--num_classes", "3", "--shape", "[500,2]"], "lenet5 takes images (height, width, channels)"),
        (["--num_classes", "3", "--shape", "[0,2]"], "shape is (0, 2); expected sides of at least 1"),
        (["--shape", "[32,32,3]"], "num_classes is None; expected a number"),
        (
            ["--num_classes", "3", "--picture", "network.gif"],
            "picture is 'network.gif'; expected a file that ends in .png",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_status_2(command, arguments, said):
    status, result, text = command(*arguments)
    assert (status, result) == (2, None)
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    assert said in text


@pytest.mark.skipif(not can_draw(), reason="Graphviz or pydot is not installed")
def test_picture_of_the_network(command, tmp_path):
    status, result, _ = command(*SIZE, "--num_classes", "7", "--picture", "network.svg")
    assert (status, result["name"]) == (0, "lenet5")
    assert "(None, 7)" in (tmp_path / "network.svg").read_text()


def test_picture_without_graphviz_is_refused_in_one_line(command, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    status, result, text = command(*SIZE, "--num_classes", "7", "--picture", "network.png")
    assert (status, result) == (2, None)
    (line,) = text.splitlines()
    assert "needs Graphviz and pydot" in line
    assert not list(tmp_path.iterdir())


def test_help_tells_its_own_arguments_and_all_fields(capsys):
    with pytest.raises(SystemExit):
        describe.main(["--help"])
    text = capsys.readouterr().out
    for name in (
        "--num_classes",
        "--picture",
        "--json",
        "--shape",
        "--model.strict_geometry",
        "--dataset.image.height",
    ):
        assert name in text
