"""The descriptions on MLflow's pages, in Markdown: of runs, models and registered versions."""

from collections.abc import Mapping

import mlflow

from convoy.config import ModelConfig, TrainingConfig
from convoy.config.optimizer import configured_rate
from convoy.dataset.storage.manifest import Manifest
from convoy.tracking import logged_models

NOTE = "mlflow.note.content"
"""The tag that holds the description of a run or a logged model."""


def training_note(
    model: ModelConfig, training: TrainingConfig, manifest: Manifest, weights: int, result: Mapping[str, float]
) -> str:
    """Return the description of a training: network, data, settings and result, the result first.

    Tables cut it after 30 characters, and MLflow folds descriptions of more than five lines.

    Args:
        model: Section ``model``.
        training: Section ``training``.
        manifest: Manifest of the dataset.
        weights: Number of weights of the network.
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
    """Return a description with one more result, which replaces an earlier one of that name; the rest is unchanged.

    Args:
        note: The current description; people may have changed it.
        name: Name of the result, e.g. ``test``.
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
    """Return the description of a registered model, which says how to use it."""
    return (
        "A version for each training. The one in use has the alias **champion**, the one before it **previous**.\n\n"
        f"    convoy score --scoring.model models:/{name}@champion --scoring.input IMAGES --scoring.output SCORES\n\n"
        f'In Python: `mlflow.pyfunc.load_model("models:/{name}@champion")`'
    )


def note_of(run_id: str) -> str:
    """Return the description of a run; empty if it has none."""
    return str(mlflow.MlflowClient().get_run(run_id).data.tags.get(NOTE, ""))


def add_result(run_id: str, model_id: str | None, version: tuple[str, str] | None, name: str, text: str) -> None:
    """Add a result to the descriptions of a run, its logged model and its registered version.

    Args:
        run_id: The run.
        model_id: The model, if known.
        version: (name, version) in the registry; None if it is not registered.
        name: Name of the result.
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
