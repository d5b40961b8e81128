"""A network of the user's own, from a module in the current directory, on two ranks and in Spark's workers."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from convoy.models.layers.maxout import Maxout

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.spark, pytest.mark.e2e, pytest.mark.long]

MODULE = """
import keras


def build(input_shape, num_classes):
    x = image = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 5, activation="relu")(x)
    y = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([x, y]))
    return keras.Model(image, keras.layers.Dense(num_classes, activation="softmax")(x))
"""


def test_function_beside_the_user_with_options_is_trained_on_two_ranks_and_evaluated(
    spark, ingested_digits, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ownnets.py").write_text(MODULE)
    config = ["--config", str(ROOT / "conf" / "digits.yaml"), "--tracking.registered_model", "null"]
    config += ["--dataset.root", str(ingested_digits), "--tracking.report", "false"]
    options = ["--model.name", "ownnets:build", "--model.activation", "maxout", "--model.l2", "1e-4"]
    # A process of its own: the ranks' current directory is that of the JVM that they come from.
    command = [sys.executable, str(ROOT / "jobs" / "train.py"), *config, *options, "--training.epochs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    # Absolute: MLflow keeps one open store per URI, and a relative one may be another test's database.
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'work' / 'mlflow.db'}")
    network = mlflow.keras.load_model(result["model_uri"])
    names = [
        "conv2d",
        "conv2d_activation",
        "conv2d_1",
        "conv2d_1_activation",
        "add",
        "global_average_pooling2d",
        "dense",
    ]
    assert [layer.name for layer in network.layers][2:] == names
    assert isinstance(network.get_layer("conv2d_activation"), Maxout)
    capsys.readouterr()
    assert importlib.import_module("jobs.evaluate").main([*config, "--evaluation.model", result["model_uri"]]) == 0
    assert 0 <= json.loads(capsys.readouterr().out)["accuracy"] <= 1
