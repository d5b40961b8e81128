"""``conf/mnist.yaml`` with ``mnist_cnn``, by the jobs, as a user runs them: how accurate, and how soon."""

import sys
from pathlib import Path

import mlflow
from contenders import run_command
from measure import say
from report import markdown

EPOCHS = 12
TARGET = 0.99


def accuracy_of_epochs(root: Path, work: Path, folder: str, scale: float) -> str:
    """Ingest (once), train and evaluate; returns a table of the epochs and a line about the test images.

    Args:
        root: Of the project.
        work: Folder for the dataset and the tracking store.
        folder: MNIST, ``{train,test}/<digit>/*.png``.
        scale: Below 1, two epochs are enough to see that it works.
    """
    epochs = EPOCHS if scale == 1 else 2
    store = f"sqlite:///{work}/accuracy.db"
    options = {
        "source.path": str(Path(folder).expanduser().absolute()),
        "dataset.root": str(work / "datasets"),
        "model.name": "mnist_cnn",
        "training.epochs": str(epochs),
        "tracking.uri": store,
        "scoring.output": str(work / "scores"),
    }
    results = {}
    for job in ("ingest", "train", "evaluate"):
        say(f"accuracy: {job}")
        given = [text for name, value in options.items() for text in (f"--{name}", value)]
        # Jobs leave what is not configured, MLflow's artifacts for one, where they are run.
        results[job] = run_command(
            [sys.executable, str(root / "jobs" / f"{job}.py"), "--config", str(root / "conf" / "mnist.yaml"), *given],
            cwd=work,
            timeout=3600,
        )
    client = mlflow.MlflowClient(store)
    history = {
        name: [metric.value for metric in client.get_metric_history(results["train"]["run_id"], name)]
        for name in ("images_per_second", "val_accuracy")
    }
    rows = results["ingest"]["rows"]
    seconds, lines, reached = 0.0, [], None
    for epoch, (rate, value) in enumerate(zip(*history.values(), strict=True), start=1):
        seconds += rows["train"] / rate
        lines.append([str(epoch), f"{seconds:.0f}", f"{value:.2%}"])
        if reached is None and value >= TARGET:
            reached = f"Validation accuracy reaches {TARGET:.0%} after epoch {epoch}, {seconds:.0f} s of training."
    caption = (
        f"`conf/mnist.yaml` with `--model.name mnist_cnn --training.epochs {epochs}`, run once with the jobs on two"
        f" ranks: {rows['train']:,} training images, {rows['validation']:,} of MNIST's training images held out for"
        " validation. The seconds cover training only, not validation or the start of Spark and the ranks."
    )
    test = results["evaluate"]
    after = (
        f"{reached or f'Validation accuracy does not reach {TARGET:.0%}.'} After {epochs} epochs,"
        f" {test['accuracy']:.2%} of the {test['rows']:,} test images are classified correctly (Keras' example of this"
        f" network reports 99.25 %). The whole training job took {results['train']['seconds']:.0f} s."
    )
    table = markdown(["epoch", "seconds of training", "validation accuracy"], lines)
    return f"### Accuracy\n\n{caption}\n\n{table}\n\n{after}"
