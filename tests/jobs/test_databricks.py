"""The Databricks bundle: known keys alone, tasks whose parameters the jobs take, and the pipeline run as written."""

import importlib
import json
import re
from pathlib import Path

import mlflow
import pyarrow.parquet as pq
import pytest
import yaml
from databricks.bundles.jobs import Job

from convoy.cli import parse

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = yaml.safe_load((ROOT / "databricks.yml").read_text())
[RESOURCES] = [yaml.safe_load(path.read_text())["resources"] for path in ROOT.glob("resources/*.yml")]
PIPELINE = RESOURCES["jobs"]["pipeline"]


def filled(value, parameters):
    """Put in what Databricks puts in: the bundle's variables when it is deployed, parameters when the job runs."""
    known = {
        **{f"${{var.{name}}}": str(variable["default"]) for name, variable in BUNDLE["variables"].items()},
        "${workspace.file_path}": str(ROOT),
        "${bundle.target}": "dev",
        **{f"{{{{job.parameters.{name}}}}}": text for name, text in parameters.items()},
    }
    return re.sub(r"\$\{.*?\}|\{\{.*?\}\}", lambda found: known[found[0]], value)


def parameters(**others):
    """The job's parameters, with their defaults."""
    return {each["name"]: filled(each["default"], {}) for each in PIPELINE["parameters"]} | others


def in_order(tasks):
    """Tasks after those that they depend on."""
    done, waiting = [], list(tasks)
    while waiting:
        ready = [
            task
            for task in waiting
            if {each["task_key"] for each in task.get("depends_on", [])} <= {each["task_key"] for each in done}
        ]
        assert ready, f"{[task['task_key'] for task in waiting]} wait for each other"
        done += ready
        waiting = [task for task in waiting if task not in ready]
    return done


def steps(given):
    """(name of the job, its arguments) of each task, in order."""
    for task in in_order(PIPELINE["tasks"]):
        step = task["spark_python_task"]
        file = (ROOT / "resources" / step["python_file"]).resolve()
        assert file.parent == ROOT / "jobs"
        assert file.exists()
        yield file.stem, [filled(each, given) for each in step["parameters"]]


def test_databricks_knows_every_key():
    job = Job.from_dict(PIPELINE)
    assert [task.task_key for task in job.tasks] == ["ingest", "train", "evaluate", "score"]
    with pytest.raises(ValueError, match="Unexpected field 'spark_python_tsk'"):
        Job.from_dict({"tasks": [{"task_key": "a", "spark_python_tsk": {}}]})
    clusters = {cluster["job_cluster_key"] for cluster in PIPELINE["job_clusters"]}
    assert {task["job_cluster_key"] for task in PIPELINE["tasks"]} == clusters


def test_every_variable_is_declared_and_used_and_targets_change_known_things():
    text = (ROOT / "resources" / "pipeline.yml").read_text() + (ROOT / "databricks.yml").read_text()
    assert set(re.findall(r"\$\{var\.(\w+)\}", text)) == set(BUNDLE["variables"])
    assert set(re.findall(r"job\.parameters\.(\w+)", text)) == {each["name"] for each in PIPELINE["parameters"]}
    assert set(BUNDLE["targets"]) == {"dev", "staging", "prod"}
    for target in BUNDLE["targets"].values():
        assert set(target.get("variables", {})) <= set(BUNDLE["variables"])
        for name, job in target.get("resources", {}).get("jobs", {}).items():
            Job.from_dict(RESOURCES["jobs"][name] | job)


def test_the_jobs_take_the_parameters_as_they_stand():
    configs = {job: parse(job, "", arguments) for job, arguments in steps(parameters())}
    for job in ("train", "evaluate", "score"):
        tracking = configs[job].tracking
        assert (tracking.uri, tracking.registry_uri) == ("databricks", "databricks-uc")
        assert tracking.registered_model == "main.convoy.digits"
        assert configs[job].dataset.root == configs["ingest"].dataset.root == "/Volumes/main/convoy/convoy/datasets"
    assert configs["train"].training.num_workers == BUNDLE["variables"]["ranks"]["default"]
    assert configs["evaluate"].evaluation.gates == ["accuracy >= 0.95"]
    assert configs["score"].scoring.model == "models:/main.convoy.digits@champion"


@pytest.mark.spark
@pytest.mark.e2e
@pytest.mark.long
def test_the_pipeline_runs_as_written(spark, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    given = parameters(root=str(tmp_path), tracking=store, registry=store)
    results = {}
    for job, arguments in steps(given):
        status = importlib.import_module(f"jobs.{job}").main(arguments)
        said = capsys.readouterr()
        assert status == 0, said.err
        results[job] = json.loads(said.out.splitlines()[-1])
    assert results["score"]["model"] == "models:/main.convoy.digits/1"
    assert pq.read_table(tmp_path / "scores").num_rows == results["score"]["rows"] == results["evaluate"]["rows"]
    run = mlflow.MlflowClient(store).get_run(results["train"]["run_id"])
    assert run.data.metrics["world_size"] == BUNDLE["variables"]["ranks"]["default"]
