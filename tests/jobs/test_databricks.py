"""The Databricks bundle: keys that Databricks knows, parameters that the jobs take, and its jobs run as written."""

import importlib
import json
import re
from pathlib import Path

import mlflow
import pyarrow.parquet as pq
import pytest
import yaml
from databricks.bundles.jobs import Job

from convoy.config.loading import parse

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = yaml.safe_load((ROOT / "databricks.yml").read_text())
VARIABLES = {name: variable["default"] for name, variable in BUNDLE["variables"].items()}
JOBS = {
    name: job
    for path in ROOT.glob("resources/*.yml")
    for name, job in yaml.safe_load(path.read_text())["resources"]["jobs"].items()
}
CLUSTERS = sorted((ROOT / "resources" / "clusters").glob("*.json"))
RUNTIMES = sorted(path.stem.removeprefix("dbr-").removesuffix("-ml") for path in ROOT.glob("constraints/dbr-*-ml.in"))


def filled(value, parameters, variables=VARIABLES):
    """Put in what Databricks puts in: the bundle's variables when it is deployed, parameters when the job runs."""
    if isinstance(value, dict):
        return {name: filled(each, parameters, variables) for name, each in value.items()}
    if isinstance(value, list):
        return [filled(each, parameters, variables) for each in value]
    if not isinstance(value, str):
        return value
    known = {
        **{f"${{var.{name}}}": default for name, default in variables.items()},
        "${workspace.file_path}": str(ROOT),
        "${bundle.target}": "dev",
        **{f"{{{{job.parameters.{name}}}}}": text for name, text in parameters.items()},
    }
    if value in known:  # as a whole: lists stay lists, numbers numbers
        return filled(known[value], parameters, variables)
    return re.sub(r"\$\{.*?\}|\{\{.*?\}\}", lambda found: str(filled(known[found[0]], parameters, variables)), value)


def parameters(job, **others):
    """The job's parameters, with their defaults."""
    return {each["name"]: filled(each["default"], {}) for each in JOBS[job]["parameters"]} | others


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


def steps(job, given):
    """(name of the job, its arguments) of each task, in order."""
    for task in in_order(JOBS[job]["tasks"]):
        step = task["spark_python_task"]
        file = (ROOT / "resources" / step["python_file"]).resolve()
        assert file.parent == ROOT / "jobs"
        assert file.exists()
        yield file.stem, [str(filled(each, given)) for each in step["parameters"]]


@pytest.mark.parametrize(
    ("name", "tasks"), [("pipeline", ["ingest", "train", "evaluate", "score"]), ("tune", ["tune"])]
)
def test_databricks_knows_every_key(name, tasks):
    job = JOBS[name]
    assert [task.task_key for task in Job.from_dict(job).tasks] == tasks
    with pytest.raises(ValueError, match="Unexpected field 'spark_python_tsk'"):
        Job.from_dict({"tasks": [{"task_key": "a", "spark_python_tsk": {}}]})
    clusters = {cluster["job_cluster_key"] for cluster in job["job_clusters"]}
    assert {task["job_cluster_key"] for task in job["tasks"]} == clusters
    assert job["timeout_seconds"] >= max(task["timeout_seconds"] for task in job["tasks"])
    assert job["email_notifications"]["on_failure"] == "${var.notified}"


def test_every_variable_is_declared_and_used_and_targets_change_known_things():
    text = (ROOT / "databricks.yml").read_text()
    for path in ROOT.glob("resources/*.yml"):
        own = path.read_text()
        (name,) = yaml.safe_load(own)["resources"]["jobs"]
        assert set(re.findall(r"job\.parameters\.(\w+)", own)) == {each["name"] for each in JOBS[name]["parameters"]}
        text += own
    assert set(re.findall(r"\$\{var\.(\w+)\}", text)) == set(BUNDLE["variables"])
    assert set(BUNDLE["targets"]) == {"dev", "staging", "prod"}
    for target in BUNDLE["targets"].values():
        assert set(target.get("variables", {})) <= set(BUNDLE["variables"])
        for name, job in target.get("resources", {}).get("jobs", {}).items():
            Job.from_dict(JOBS[name] | job)


@pytest.mark.parametrize("file", CLUSTERS, ids=lambda file: file.stem)
def test_every_ready_cluster_is_one_that_databricks_knows(file):
    chosen = json.loads(file.read_text())
    assert set(chosen) <= set(VARIABLES)
    for name, job in JOBS.items():
        made = Job.from_dict(filled(job, parameters(name), {**VARIABLES, "schema": "convoy_dev", **chosen}))
        (cluster,) = (each.new_cluster for each in made.job_clusters)
        runtime, kind = file.stem.split("-")
        scala = "2.12" if runtime in ("15.4", "16.4") else "2.13"
        assert cluster.spark_version == f"{runtime}.x-{kind}-ml-scala{scala}"
        scripts = [each.volumes.destination for each in cluster.init_scripts]
        assert scripts == (
            [] if file.stem.startswith("15.4") else [f"{cluster.spark_env_vars['CONVOY_WHEELHOUSE']}/install-convoy.sh"]
        )


def test_every_runtime_has_pinned_versions_and_clusters_for_cpus_and_gpus():
    default = VARIABLES["runtime"].partition(".x-")[0]  # the bundle's default, so it has no file
    expected = {f"{runtime}-{kind}" for runtime in RUNTIMES for kind in ("cpu", "gpu")} - {f"{default}-cpu"}
    assert {file.stem for file in CLUSTERS} == expected
    for runtime in RUNTIMES:
        pins = (ROOT / "constraints" / f"dbr-{runtime}-ml.txt").read_text()
        packages = re.findall(r"^([a-z0-9-]+)==\S+ \\\n    --hash=sha256:", pins, re.MULTILINE)
        assert {"horovod", "keras", "petastorm", "pyspark", "tensorflow-cpu"} <= set(packages)
        assert len(packages) == len(re.findall("^[^ #\n]", pins, re.MULTILINE))  # nothing without a hash, no option
        assert "://" not in pins  # no host


def test_the_table_of_versions_is_that_of_the_pinned_versions():
    text = (ROOT / "docs" / "compatibility.md").read_text().partition("## Versions in these environments")[2]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    rows = rows[: rows.index(next(row for row in rows if "Java" in row[0])) - 2]  # the next table
    assert [cell.split()[0] for cell in rows[0][1:]] == RUNTIMES
    for column, runtime in enumerate(RUNTIMES, start=1):
        pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / f"constraints/dbr-{runtime}-ml.txt").read_text(), re.M))
        assert {row[0]: row[column].rstrip("*") for row in rows[3:]} == {row[0]: pins[row[0]] for row in rows[3:]}


def test_the_jobs_take_the_parameters_as_they_stand():
    configs = {job: parse(job, "", arguments) for name in JOBS for job, arguments in steps(name, parameters(name))}
    for job in ("train", "evaluate", "score", "tune"):
        tracking = configs[job].tracking
        assert (tracking.uri, tracking.registry_uri) == ("databricks", "databricks-uc")
        assert tracking.registered_model == "main.convoy.digits"
        assert configs[job].dataset.root == configs["ingest"].dataset.root == "/Volumes/main/convoy/convoy/datasets"
    assert configs["train"].training.num_workers == configs["tune"].tune.parallel == VARIABLES["ranks"]
    assert configs["evaluate"].evaluation.gates == ["accuracy >= 0.95"]
    assert configs["score"].scoring.model == "models:/main.convoy.digits@champion"
    assert configs["tune"].tune.storage == "sqlite:////local_disk0/convoy/studies.db"


def run_all(job, given, capsys):
    """Run a job's tasks here; their JSON lines, by task."""
    results = {}
    for task, arguments in steps(job, given):
        status = importlib.import_module(f"jobs.{task}").main(arguments)
        said = capsys.readouterr()
        assert status == 0, said.err
        results[task] = json.loads(said.out.splitlines()[-1])
    return results


@pytest.mark.spark
@pytest.mark.e2e
@pytest.mark.long
def test_the_pipeline_runs_as_written(spark, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    results = run_all("pipeline", parameters("pipeline", root=str(tmp_path), tracking=store, registry=store), capsys)
    assert results["score"]["model"] == "models:/main.convoy.digits/1"
    assert pq.read_table(tmp_path / "scores").num_rows == results["score"]["rows"] == results["evaluate"]["rows"]
    run = mlflow.MlflowClient(store).get_run(results["train"]["run_id"])
    assert run.data.metrics["world_size"] == VARIABLES["ranks"]


@pytest.mark.spark
@pytest.mark.e2e
@pytest.mark.long
def test_the_study_runs_as_written_and_makes_its_dataset_first(spark, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    config = yaml.safe_load((ROOT / "conf" / VARIABLES["tune_config"]).read_text())
    config["tune"] |= {"trials": 2, "best": "register"}  # tiny; all else as it stands
    config["training"]["epochs"] = 1
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    places = {"root": str(tmp_path), "tracking": store, "registry": store, "config": str(tmp_path / "tiny.yaml")}
    storage = f"sqlite:///{tmp_path}/studies.db"
    result = run_all("tune", parameters("tune", **places, storage=storage), capsys)["tune"]
    assert (result["trials"], result["complete"], result["model_version"]) == (2, 2, "1")
    assert mlflow.MlflowClient(store).get_model_version("main.convoy.digits", "1").run_id == result["best"]["run_id"]
    assert (tmp_path / "studies.db").exists()
