"""The descriptions that MLflow's pages show, in Markdown: of runs, models and registered versions."""

from collections.abc import Mapping

import mlflow

from convoy.config import ModelConfig, TrainingConfig
from convoy.config.optimizer import configured_rate
from convoy.dataset.storage.manifest import Manifest
from convoy.tracking import logged_models

NOTE = "mlflow.note.content"
"""The tag that is a run's or a logged model's description."""


def training_note(
    model: ModelConfig, training: TrainingConfig, manifest: Manifest, weights: int, result: Mapping[str, float]
) -> str:
    """What was trained, on what, how, and what came of it, which comes first: tables cut it after 30 characters.

    It is short: MLflow folds what is longer than five lines.

    Args:
        model: Section ``model``.
        training: Section ``training``.
        manifest: Of the dataset.
        weights: How many the network has.
        result: ``epochs``, ``val_accuracy`` and ``val_loss`` of the trained network.
    """
    optimizer, batch = training.optimizer, training.global_batch_size
    shape = "x".join(map(str, manifest.shape))
    epochs = _counted(int(result["epochs"]), "epoch")
    ranks = _counted(max(1, training.num_workers), "rank")
    how = f"{epochs} in batches of {batch:,} on {ranks}; {optimizer.name}, learning rate {configured_rate(optimizer):g}"
    lines = [
        f"Validation accuracy {result['val_accuracy']:.2%}: {model.name}, {weights:,} weights,"
        f" {len(manifest.classes):,} classes of {shape}; {manifest.name} version `{manifest.version}`",
        "",
        _line("training", f"{how}, seed {training.seed}"),
        _line("validation", f"accuracy {result['val_accuracy']:.2%}, loss {result['val_loss']:.4f}"),
    ]
    return "\n".join(lines)


def with_result(note: str, name: str, text: str) -> str:
    """A description with one more result, which takes the place of an earlier one of that name; all else stays.

    Args:
        note: The description, as it is; people may have changed it.
        name: Of the result, e.g. ``test``.
        text: The result.
    """
    lines, line = note.splitlines(), _line(name, text)
    for number, known in enumerate(lines):
        if known.startswith(_line(name, "")):
            return "\n".join([*lines[:number], line, *lines[number + 1 :]])
    last = max((number for number, known in enumerate(lines) if known.startswith("* **")), default=None)
    if last is None:
        return "\n".join([*lines, *([""] if lines else []), line])
    return "\n".join([*lines[: last + 1], line, *lines[last + 1 :]])


def registered_note(name: str) -> str:
    """How a registered model is used."""
    return (
        "A version for each training. The one in use has the alias **champion**, the one before it **previous**.\n\n"
        f"    convoy score --scoring.model models:/{name}@champion --scoring.input IMAGES --scoring.output SCORES\n\n"
        f'In Python: `mlflow.pyfunc.load_model("models:/{name}@champion")`'
    )


def note_of(run_id: str) -> str:
    """The description of a run; empty where it has none."""
    return str(mlflow.MlflowClient().get_run(run_id).data.tags.get(NOTE, ""))


def add_result(run_id: str, model_id: str | None, version: tuple[str, str] | None, name: str, text: str) -> None:
    """Add a result to the descriptions of a run, its logged model and its registered version.

    Args:
        run_id: The run.
        model_id: The model, if known.
        version: (name, version) in the registry; None where it is not registered.
        name: Of the result.
        text: The result.
    """
    client = mlflow.MlflowClient()
    client.set_tag(run_id, NOTE, with_result(note_of(run_id), name, text))
    if model_id is not None:
        known = logged_models.description(client, model_id)
        logged_models.describe(client, model_id, with_result(known, name, text))
    if version is not None:
        known = client.get_model_version(*version).description or ""
        client.update_model_version(*version, description=with_result(known, name, text))


def _line(name: str, text: str) -> str:
    return f"* **{name}**: {text}"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
