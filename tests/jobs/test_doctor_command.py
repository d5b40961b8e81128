"""``convoy doctor``: lines for people, one JSON line for scripts, and an exit status."""

import json
from pathlib import Path

import pytest

from jobs import doctor

pytestmark = pytest.mark.spark

DIGITS = str(Path(__file__).resolve().parents[2] / "conf" / "digits.yaml")


@pytest.fixture
def command(spark, tmp_path, monkeypatch, capsys):
    """Returns (exit status, the JSON line, what people read)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = doctor.main(["--config", DIGITS, *arguments])
        captured = capsys.readouterr()
        return status, json.loads(captured.out.splitlines()[-1]), captured.err

    return run


@pytest.mark.long
def test_where_jobs_would_run_it_says_so_and_makes_nothing(command, tmp_path):
    status, result, text = command()
    assert (status, result["job"], result["errors"]) == (0, "doctor", 0), text
    checks = [line.split()[1] for line in text.splitlines() if line.startswith(("ok ", "warning "))]
    assert {"python", "packages", "tensorflow", "horovod", "tracking", "java", "spark", "executors"} <= set(checks)
    assert "built with gloo" in text
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_what_would_stop_a_job_is_an_error_and_the_status_is_1(command, tmp_path):
    (tmp_path / "file").write_text("")
    status, result, text = command(
        *("--json", "--training.num_workers", "9", "--tracking.uri", "file:///x", "--dataset.root", "file/data")
    )
    errors = {finding["check"]: finding for finding in result["findings"] if finding["level"] == "error"}
    assert status == 1
    assert result["errors"] == len(errors) == 3
    assert "4 tasks at once, but training.num_workers is 9" in errors["spark"]["text"]
    assert "which MLflow 3 does not take" in errors["tracking"]["text"]
    assert errors["dataset"]["text"] == f"{tmp_path}/file/data does not exist and cannot be created"
    assert all(finding["mend"] for finding in errors.values())
    assert text == ""


def test_a_field_that_does_not_exist_is_refused_as_by_every_job(capsys):
    assert doctor.main(["--training.num_worker", "2"]) == 2
    assert "did you mean 'training.num_workers'?" in capsys.readouterr().err
