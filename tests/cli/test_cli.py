"""Arguments -> configuration -> one JSON line and an exit status."""

import ast
import dataclasses
import inspect
import itertools
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import convoy.config
from convoy.cli.job import run_job, take_argument
from convoy.cli.main import main
from convoy.config import Config
from convoy.config.loading import parse
from convoy.errors import GateFailure, SourceError
from convoy.quiet_import import quiet_libraries

ROOT = Path(__file__).parents[2]
CONF = sorted(ROOT.glob("conf/*.yaml"))


def parsed(*arguments):
    return parse("job", "A job.", list(arguments))


def leaves(section=Config, prefix=""):
    """(name, default, documentation) of every field, from the classes' own source."""
    body = ast.parse(inspect.getsource(section)).body[0].body
    docs = {
        field.target.id: " ".join(ast.literal_eval(text.value).split())
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }
    for field in dataclasses.fields(section):
        if dataclasses.is_dataclass(field.type):
            yield from leaves(field.type, f"{prefix}{field.name}.")
        elif field.default_factory is not dataclasses.MISSING:
            yield prefix + field.name, field.default_factory(), docs[field.name]
        else:
            yield prefix + field.name, field.default, docs[field.name]


def test_without_arguments_all_defaults_hold():
    assert parsed() == Config()


def test_yaml_sets_fields_and_leaves_the_others(yaml):
    config = parsed(*yaml("training: {epochs: 3, optimizer: {name: sgd}}\ntracking: {registered_model: cats}\n"))
    expected = dataclasses.replace(
        Config(),
        training=convoy.config.TrainingConfig(epochs=3, optimizer=convoy.config.OptimizerConfig(name="sgd")),
        tracking=convoy.config.TrackingConfig(registered_model="cats"),
    )
    assert config == expected


def test_arguments_win_over_the_file(yaml):
    config = parsed(*yaml("training: {epochs: 3, seed: 4}\n"), "--training.epochs", "7", "--source.path=/images")
    assert (config.training.epochs, config.training.seed, config.source.path) == (7, 4, "/images")


def test_spark_properties_are_given_as_they_are(yaml):
    config = parsed(*yaml("spark: {conf: {spark.executor.memory: 2g, spark.ui.enabled: 'true'}}\n"))
    assert config.spark.conf == {"spark.executor.memory": "2g", "spark.ui.enabled": "true"}


def test_gates_are_a_list_in_a_file_and_in_an_argument(yaml):
    file = yaml("evaluation:\n  gates:\n    - f1[7] >= 0.9\n    - not worse than models:/digits@champion\n")
    gates = ["f1[7] >= 0.9", "not worse than models:/digits@champion"]
    assert parsed(*file).evaluation.gates == gates
    argument = "[accuracy >= 0.95, not worse than models:/digits@champion]"
    assert parsed(*file, "--evaluation.gates", argument).evaluation.gates == ["accuracy >= 0.95", gates[1]]
    assert parsed(*file, "--evaluation.gates+", "log_loss <= 1").evaluation.gates == [*gates, "log_loss <= 1"]


@pytest.mark.parametrize("file", CONF, ids=lambda file: file.stem)
def test_every_experiment_of_the_project_parses(file):
    config = parsed("--config", str(file))
    assert config.dataset.name == config.tracking.experiment == file.stem


def test_the_project_has_experiments():
    assert {"digits", "mnist", "cifar10"} <= {file.stem for file in CONF}


def test_printed_configuration_gives_the_same_when_read(yaml, capsys):
    arguments = [
        "--training.epochs",
        "7",
        "--spark.conf",
        '{"a.b": "c"}',
        "--source.path",
        "/with space: and #",
    ]
    with pytest.raises(SystemExit) as stopped:
        parsed(*arguments, "--print_config")
    assert not stopped.value.code
    printed = capsys.readouterr().out
    assert parsed(*yaml(printed)) == parsed(*arguments)


def test_help_documents_every_field_with_its_default(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit) as stopped:
        parsed("--help")
    assert not stopped.value.code
    lines = capsys.readouterr().out.splitlines()
    fields = list(leaves())
    assert len(fields) > 30
    for name, default, documentation in fields:
        (start,) = (i for i, line in enumerate(lines) if line.strip().startswith((f"--{name} ", f"--{name}, ")))
        entry = " ".join(" ".join(lines[start : start + 2]).split())
        assert documentation in entry
        assert f"default: {'null' if default is None else default}" in entry


def test_result_is_the_last_line_on_stdout(capsys):
    def job(config):
        print("something before")
        return {"epochs": config.training.epochs, "name": "ü"}

    assert run_job("train", job, "A job.", ["--training.epochs", "7"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1]) == {"job": "train", "epochs": 7, "name": "ü"}
    assert err == ""


def raise_source_error(config):
    raise SourceError("the folder is empty;\n  give another")


@pytest.mark.parametrize(
    ("job", "arguments", "said"),
    [
        (raise_source_error, [], "error: the folder is empty; give another\n"),
        (lambda config: {}, ["--training.epochs", "0"], "error: training.epochs is 0; expected at least 1\n"),
        (lambda config: {}, ["--training.epohcs", "3"], None),
        (lambda config: {}, ["--config", "/no/such.yaml"], None),
        (lambda config: {}, ["--training.epochs", "x\ny"], None),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_status_2(capsys, job, arguments, said):
    assert run_job("ingest", job, "A job.", arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in (None, err)


def test_what_is_not_good_enough_has_its_line_and_status_3_and_its_result(capsys):
    def job(config):
        raise GateFailure("accuracy is\n too low", {"passed": False})

    assert run_job("evaluate", job, "A job.", []) == 3
    out, err = capsys.readouterr()
    assert json.loads(out) == {"job": "evaluate", "passed": False}
    assert err == "failed: accuracy is too low\n"


@pytest.mark.parametrize(
    ("arguments", "value", "others"),
    [
        (["--model", "a", "--x", "1"], "a", ["--x", "1"]),
        (["--x", "1", "--model=a=b"], "a=b", ["--x", "1"]),
        (["--model.name", "lenet5"], None, ["--model.name", "lenet5"]),
        (["--x", "--model"], None, ["--x"]),
        ([], None, []),
    ],
)
def test_argument_that_is_named_like_a_section(arguments, value, others):
    assert take_argument("--model", arguments) == (value, others)


def test_interruption_has_its_own_status(capsys):
    def job(config):
        raise KeyboardInterrupt

    assert run_job("ingest", job, "A job.", []) == 130
    assert capsys.readouterr().out == ""


def test_anything_else_is_a_traceback_and_status_1():
    program = (
        "import sys; from convoy.cli.job import run_job; sys.exit(run_job('x', lambda config: 1 / 0, 'A job.', []))"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=1200)
    assert process.returncode == 1
    assert process.stdout == ""
    assert process.stderr.startswith("Traceback")
    assert process.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("arguments", "status", "stream", "said"),
    [
        ([], 0, "out", "ingest"),
        (["--help"], 0, "out", "score"),
        (["trian"], 2, "err", "did you mean 'train'?"),
    ],
)
def test_console_script_knows_the_jobs(monkeypatch, capsys, arguments, status, stream, said):
    monkeypatch.setattr(sys, "argv", ["convoy", *arguments])
    assert main() == status
    assert said in getattr(capsys.readouterr(), stream)


def test_syntax_warnings_that_packages_cause_are_silent_and_others_are_not(tmp_path):
    """Python 3.12 and later warn of invalid escape sequences when they compile a module."""
    (tmp_path / "package.py").write_text("PATTERN = '\\.'\n")
    (tmp_path / "own.py").write_text("SAME = 1 is 1\n")
    script = "from convoy.quiet_import import quiet_libraries; quiet_libraries(); import package, own"
    path = os.pathsep.join([str(ROOT / "src"), str(tmp_path)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    assert "own.py" in done.stderr
    assert "escape" not in done.stderr


def test_a_second_training_in_a_process_does_not_warn_of_tracing(caplog):
    quiet_libraries()
    logger = logging.getLogger("tensorflow")
    logger.warning("5 out of the last 13 calls to %s triggered tf.function retracing.", "f")
    logger.warning("something else")
    assert [record.getMessage() for record in caplog.records if record.name == "tensorflow"] == ["something else"]
