"""``convoy runs``: text for people, one JSON line for scripts, tables in the format that is asked for."""

import csv
import io
import json

import mlflow
import pytest
from PIL import Image

from convoy.tracking import provenance
from jobs import runs as job
from tests.runs.stores import Store, written


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    found = written(tmp_path_factory.mktemp("runs"))
    found.connect()
    client = mlflow.MlflowClient()
    for name, packages in (("up", "keras==3.1\nnumpy==1.26\n"), ("peak", "keras==3.2\nnumpy==1.26\n")):
        client.log_text(found.ids[name], packages, provenance.PACKAGES)
        client.log_dict(found.ids[name], {"python": "3.11.9"}, provenance.MACHINE)
    return found


@pytest.fixture
def command(store, capsys):
    def run(name, *arguments):
        """Returns (exit status, what is on stdout, what is on stderr)."""
        status = job.main([name, *arguments, *(() if "--uri" in arguments else ("--uri", store.uri))])
        return status, *capsys.readouterr()

    return run


def test_list_shows_runs_with_what_differs_and_what_they_reached(command):
    status, out, text = command("list", "--experiment", "curves", "--filter", "attributes.status = 'FINISHED'")
    assert status == 0
    assert json.loads(out) == {"job": "runs", "command": "list", "runs": 3}
    header, _, *lines = text.splitlines()
    assert header.split()[-3:] == ["best_val_loss", "learning_rate", "seed"]
    rows = [line.split() for line in lines]
    assert [row[1] for row in rows] == ["low", "peak", "up"]
    assert rows[1][-6:] == ["0.7000", "0.9500", "0.3000", "0.0500", "0.01", "4"]


def test_list_in_other_formats_is_all_of_stdout(command, store):
    options = ("--sort", "best_val_accuracy", "--metrics", "best_val_accuracy", "--params", "learning_rate")
    status, out, text = command("list", "--experiment", "curves", *options, "--format", "csv")
    assert (status, text) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["name"] for row in rows] == ["peak", "up", "low", "failed"]
    assert rows[0]["run"] == store.ids["peak"]
    assert (rows[0]["best_val_accuracy"], rows[0]["training.optimizer.learning_rate"]) == ("0.95", "0.01")
    assert rows[3]["best_val_accuracy"] == ""
    values = json.loads(command("list", *options, "--limit", "2", "--format", "json")[1])["runs"]
    assert [value["name"] for value in values] == ["peak", "up"]
    assert {value["experiment"] for value in json.loads(command("list", "--format", "json")[1])["runs"]} == {
        "curves",
        "other",
    }
    markdown = command("list", *options, "--format", "markdown")[1].splitlines()
    assert markdown[1] == "| " + " | ".join(["---"] * markdown[0].count(" | ")) + " | --- |"


def test_store_and_experiment_come_from_a_file(command, store, tmp_path):
    file = tmp_path / "experiment.yaml"
    file.write_text(f"tracking: {{uri: '{store.uri}', experiment: other}}\n")
    status = job.main(["list", "--config", str(file), "--format", "csv"])
    assert status == 0


@pytest.mark.parametrize(
    ("metric", "name", "value"),
    [("val_accuracy", "up", 0.9), ("best_val_accuracy", "peak", 0.95), ("best_val_loss", "peak", pytest.approx(0.05))],
)
def test_best_is_the_highest_or_the_lowest(command, store, metric, name, value):
    status, out, _ = command("best", "--metric", metric)
    result = json.loads(out)
    assert (status, result["run_id"], result["value"]) == (0, store.ids[name], value)
    assert result["of"] == 3  # one failed, one goes on


def test_show_tells_what_a_run_was_and_reached(command, store):
    status, out, text = command("show", store.ids["peak"][:10])
    result = json.loads(out)
    assert (status, result["run_id"], result["metrics"]["val_accuracy"]) == (0, store.ids["peak"], 0.7)
    lines = [line.split() for line in text.splitlines()]
    assert ["training.optimizer.learning_rate", "0.01"] in lines
    assert ["val_accuracy", "0.7000", "0.9500"] in lines
    assert ["dataset", "animals", "v2"] in lines
    assert not any("training.epochs" in line for line in lines)  # as it is by default
    assert "and 1 of single ranks" in text
    assert command("show", "failed")[0] == command("show", "goes on")[0] == 0


def test_diff_tells_only_what_differs(command, store):
    status, out, text = command("diff", "up", "peak")
    result = json.loads(out)
    assert status == 0
    assert (result["before"], result["after"], result["unknown"]) == (store.ids["up"], store.ids["peak"], [])
    assert result["configuration"] == {
        "training.optimizer.learning_rate": ["0.1", "0.01"],
        "training.seed": ["2", "4"],
    }
    assert result["data"] == {"dataset.version": ["v1", "v2"]}
    assert result["packages"] == {"keras": ["3.1", "3.2"]}
    assert result["metrics"]["val_accuracy"] == [0.9, 0.7]
    assert not {"code", "machine"} & result.keys()
    assert ["configuration", "training.seed", "2", "4"] in [line.split() for line in text.splitlines()]
    rows = list(csv.reader(io.StringIO(command("diff", "up", "peak", "--format", "csv")[1])))
    assert ["packages", "keras", "3.1", "3.2"] in rows
    assert "packages: not recorded by both runs" in command("diff", "up", "low")[2]
    assert "they do not differ" in command("diff", "up", "up")[2]


def test_compare_draws_the_curves_into_one_picture(command, store, tmp_path):
    status, out, _ = command("compare", "up", store.ids["peak"], "low", "--output", f"{tmp_path}/curves.png")
    assert status == 0
    assert json.loads(out)["runs"] == [store.ids[name] for name in ("up", "peak", "low")]
    assert Image.open(tmp_path / "curves.png").width >= 1000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "nobody"], "there is no run 'nobody' in "),
        (["diff", "up"], "after"),
        (["list", "--filter", "val_accuracy >"], "is not a valid filter"),
        (["list", "--sort", "val_acuracy"], "did you mean 'val_accuracy'?"),
        (["list", "--params", "training.sed"], "did you mean 'training.seed'?"),
        (["list", "--limit", "0"], "--limit is 0; expected 1 or more"),
        (["list", "--experiment", "curve"], "did you mean 'curves'?"),
        (["list", "--format", "xml"], "xml"),
        (["best", "--metric", "val_acuracy"], "did you mean 'val_accuracy'?"),
        (["best", "--filter", "metrics.val_accuracy > 2"], "no run has finished in "),
        (["compare", "up", "failed"], "has no curves of a training"),
        (["compare", "up", "--output", "a.gif"], "--output is 'a.gif'; expected a file that ends in .png"),
        (["compare", "up", "--output", "/none/a.png"], "'/none/a.png' cannot be written: No such file"),
        (["lsit"], "lsit"),
    ],
)
def test_what_is_wrong_is_one_line(command, arguments, said):
    status, out, text = command(*arguments)
    assert (status, out) == (2, "")
    (line,) = text.splitlines()
    assert line.startswith("error: ")
    assert said in line


@pytest.mark.parametrize("arguments", [["list"], ["best"], ["show", "a"], ["diff", "a", "b"], ["compare", "a"]])
def test_a_store_that_is_not_there_is_not_made(command, tmp_path, arguments):
    status, out, text = command(*arguments, "--uri", f"sqlite:///{tmp_path}/folder/none.db")
    assert (status, out) == (2, "")
    assert "none.db'; run jobs/train.py first, or name one with --config FILE or --uri" in text
    assert list(tmp_path.iterdir()) == []
