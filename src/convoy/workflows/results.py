"""What the workflows return: small frozen objects whose fields are also the JSON line of the command."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convoy.console import Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Json = dict[str, Any]
_DPI = 72  # of figures in a notebook
_SIDE, _COLOURS = 480, 32  # most pixels per side, and colours, of a dataset's picture in a notebook
_MOST_PAIRS = 20  # of a mapping in a notebook


class Result:
    """Base of all results."""

    def to_json(self) -> Json:
        """Return the fields of the command's JSON line, in its order."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return one line per field, long values cut."""
        lines = [f"  {name}: {_short(value)}" for name, value in self.to_json().items()]
        return "\n".join([type(self).__name__, *lines])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:left'>{_html(value)}</td></tr>"
            for name, value in self._shown().items()
        )
        return f"<table><caption>{type(self).__name__}</caption><tbody>{rows}</tbody></table>"

    def _shown(self) -> Json:
        """Return the rows of the table in a notebook."""
        return self.to_json()


@dataclass(frozen=True, repr=False)
class IngestResult(Result):
    """A published dataset version.

    Attributes:
        dataset: Name of the dataset.
        version: Id of the version, derived from its content.
        path: Folder of the version.
        rows: Split -> number of samples.
        quarantined: Number of samples that could not be used; ``<path>/quarantine`` says why.
        existed: Whether this version was there already, so that nothing was written.
        seconds: Wall time.
        images_per_second: Samples divided by the wall time.
    """

    dataset: str
    version: str
    path: str
    rows: Mapping[str, int]
    quarantined: int
    existed: bool
    seconds: float
    images_per_second: float

    def to_json(self) -> Json:
        """Return the fields of the JSON line of ``jobs/ingest.py``."""
        return dataclasses.asdict(self)

    def _repr_html_(self) -> str:
        picture = Path(self.path) / "pictures" / "samples.png"
        return super()._repr_html_() + (_smaller(picture) if picture.is_file() else "")


@dataclass(frozen=True, repr=False)
class TrainResult(Result):
    """A finished training run, or a learning rate sweep.

    Attributes:
        run_id: Id of the MLflow run.
        experiment_id: Id of its experiment.
        model_uri: ``models:/<name>/<version>``, or ``runs:/<run id>/model`` if no model is registered; None after a
            sweep.
        model_version: Version of the registered model; None if none is registered.
        metrics: Of a training ``epochs``, ``val_accuracy``, ``val_loss``, ``images_per_second``; of a sweep
            ``suggested_learning_rate``, ``updates``, ``lowest_loss``.
        seconds: Wall time.
        epochs: Epoch, from 0 -> its metrics.
    """

    run_id: str
    experiment_id: str
    model_uri: str | None
    model_version: str | None
    metrics: Mapping[str, float | int | None]
    seconds: float
    epochs: Mapping[int, Mapping[str, float]] = field(default_factory=dict)

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch, counted from 1 in the index ``epoch``; one column per metric."""
        import pandas

        rows = [dict(self.epochs[epoch]) for epoch in sorted(self.epochs)]
        index = pandas.Index([epoch + 1 for epoch in sorted(self.epochs)], name="epoch")
        return pandas.DataFrame(rows, index=index)

    def curves(self) -> Figure:
        """Draw loss and accuracy of training and validation over the epochs."""
        from convoy.plots.training import training_curves

        return training_curves([self.epochs[epoch] for epoch in sorted(self.epochs)])

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], epochs: Mapping[int, Mapping[str, float]]) -> TrainResult:
        """Return the result with these fields of the JSON line and the metrics of these epochs."""
        own = ("run_id", "experiment_id", "model_uri", "model_version", "seconds")
        metrics = {name: value for name, value in fields.items() if name not in own}
        return cls(**{name: fields.get(name) for name in own}, metrics=metrics, epochs=epochs)  # type: ignore[arg-type]

    def to_json(self) -> Json:
        """Return the fields of the JSON line of ``jobs/train.py``."""
        model = {} if self.model_uri is None else {"model_uri": self.model_uri, "model_version": self.model_version}
        run = {"run_id": self.run_id, "experiment_id": self.experiment_id}
        return {**run, **model, **self.metrics, "seconds": self.seconds}

    def _repr_html_(self) -> str:
        return super()._repr_html_() + (_drawn(self.curves()) if self.epochs else "")


@dataclass(frozen=True, repr=False)
class EvaluationResult(Result):
    """The metrics of a model on a split.

    Attributes:
        run_id: Id of the MLflow run with the metrics: the one that trained the model.
        model: URI of the model, resolved to a version.
        dataset_version: Id of the dataset version.
        split: Name of the split.
        metrics: ``rows``, ``accuracy``, ``log_loss`` and so on, and ``intervals`` if they were computed.
        seconds: Wall time.
        gates: One entry per gate; empty without gates.
        passed: Whether all gates passed; None without gates.
        champion: Version that the alias ``champion`` was set to; None if no alias was set.
        previous: Version that was the champion before.
    """

    run_id: str
    model: str
    dataset_version: str
    split: str
    metrics: Mapping[str, Any]
    seconds: float
    gates: Sequence[Mapping[str, Any]] = ()
    passed: bool | None = None
    champion: str | None = None
    previous: str | None = None

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> EvaluationResult:
        """Return the result with these fields of the JSON line."""
        own = [each.name for each in dataclasses.fields(cls) if each.name != "metrics"]
        metrics = {name: value for name, value in fields.items() if name not in own}
        return cls(**{name: fields[name] for name in own if name in fields}, metrics=metrics)

    def to_json(self) -> Json:
        """Return the fields of the JSON line of ``jobs/evaluate.py``."""
        model = {"run_id": self.run_id, "model": self.model, "dataset_version": self.dataset_version}
        gates = {} if self.passed is None else {"passed": self.passed, "gates": list(self.gates)}
        alias = {} if self.champion is None else {"champion": self.champion, "previous": self.previous}
        return {**model, "split": self.split, **self.metrics, "seconds": self.seconds, **gates, **alias}

    def _shown(self) -> Json:
        shown = self.to_json()
        for name, (low, high) in shown.pop("intervals", {}).items():
            shown[name] = f"{shown[name]:.4f} (95 % interval: {low:.4f} to {high:.4f})"
        return shown


@dataclass(frozen=True, repr=False)
class ImportResult(Result):
    """An imported model.

    Attributes:
        run_id: Id of the MLflow run that holds it.
        model_uri: ``models:/<name>/<version>``, or the logged model's URI if no model is registered.
        model_version: Version of the registered model; None if none is registered.
        kind: Kind of the file: ``keras``, ``h5`` or ``saved_model``.
        shape: Shape of a sample.
        dtype: Type of its values.
        classes: Number of classes.
        seconds: Wall time.
    """

    run_id: str
    model_uri: str
    model_version: str | None
    kind: str
    shape: Sequence[int]
    dtype: str
    classes: int
    seconds: float

    def to_json(self) -> Json:
        """Return the fields of the JSON line of ``jobs/import_model.py``."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, repr=False)
class PromotionResult(Result):
    """The versions of a registered model that its aliases name.

    Attributes:
        model: Name of the registered model.
        champion: Version with the alias ``champion``.
        previous: Version that was the champion before; None if there was none.
        moved: Whether an alias changed.
    """

    model: str
    champion: str
    previous: str | None
    moved: bool

    def to_json(self) -> Json:
        """Return the fields of the JSON line of ``jobs/promote.py`` and ``jobs/rollback.py``."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, repr=False)
class ScoreResult(Result):
    """Published predictions.

    Attributes:
        model: URI of the model, resolved to a version.
        output: Absolute path of the folder of Parquet files, or ``table:<name>``.
        seconds: Wall time.
        summary: ``rows``, ``errors``, ``errors_by_reason``, ``classes``, ``mean_confidence``, ``images_per_second``,
            ``drift``, and ``run_id`` if ``scoring.log_run`` is set.
    """

    model: str
    output: str
    seconds: float
    summary: Mapping[str, Any]

    @property
    def rows(self) -> int:
        """Number of rows scored."""
        return int(self.summary["rows"])

    @property
    def errors(self) -> int:
        """Number of rows that could not be scored."""
        return int(self.summary["errors"])

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> ScoreResult:
        """Return the result with these fields of the JSON line."""
        summary = {name: value for name, value in fields.items() if name not in ("model", "output", "seconds")}
        return cls(fields["model"], fields["output"], fields["seconds"], summary)

    def to_json(self) -> Json:
        """Return the fields of the JSON line of ``jobs/score.py``."""
        return {"model": self.model, "output": self.output, "seconds": self.seconds, **self.summary}


@dataclass(frozen=True, repr=False)
class ExperimentResult(Result):
    """A comparison of variants.

    Attributes:
        run_id: Id of the parent run.
        experiment_id: Id of its experiment.
        dataset_version: Id of the dataset version.
        variants: One entry per variant: mean and spread of its metrics, or why it failed.
        seconds: Wall time.
    """

    run_id: str
    experiment_id: str
    dataset_version: str
    variants: Sequence[Mapping[str, Any]]
    seconds: float

    def to_json(self) -> Json:
        """Return the fields of the JSON line of ``jobs/experiment.py``."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, repr=False)
class TuneResult(Result):
    """A finished study.

    Attributes:
        run_id: Id of the parent run.
        experiment_id: Id of its experiment.
        dataset_version: Id of the dataset version.
        study: ``study``, ``trials``, ``complete``, ``pruned``, ``failed``, ``metric``, ``best`` (trial, run, value and
            fields), ``model_uri``, ``model_version``.
        seconds: Wall time.
    """

    run_id: str
    experiment_id: str
    dataset_version: str
    study: Mapping[str, Any]
    seconds: float

    def to_json(self) -> Json:
        """Return the fields of the JSON line of ``jobs/tune.py``."""
        run = {"run_id": self.run_id, "experiment_id": self.experiment_id, "dataset_version": self.dataset_version}
        return {**run, **self.study, "seconds": self.seconds}


@dataclass(frozen=True, repr=False)
class ReproduceResult(Result):
    """A run trained again, compared with the original.

    Attributes:
        reproduces: Id of the original run.
        run_id: Id of the new run.
        identical: Whether the weights are bitwise identical.
        comparison: ``weights_sha256``, ``not_as_it_was`` and, if not identical, ``first_epoch``, ``layers``,
            ``metrics``.
    """

    reproduces: str
    run_id: str
    identical: bool
    comparison: Mapping[str, Any]

    def to_json(self) -> Json:
        """Return the fields of the JSON line of ``jobs/reproduce.py``."""
        return {
            "reproduces": self.reproduces,
            "run_id": self.run_id,
            "identical": self.identical,
            **self.comparison,
        }


@dataclass(frozen=True, repr=False)
class PipelineResult(Result):
    """The results of the stages that a pipeline ran or skipped.

    Attributes:
        ingest: Result of the stage; None if the stage was not asked for.
        train: Likewise.
        evaluate: Likewise.
        score: Likewise.
        skipped: Stages whose result was there already.
        seconds: Wall time.
    """

    ingest: IngestResult | None
    train: TrainResult | None
    evaluate: EvaluationResult | None
    score: ScoreResult | None
    skipped: Sequence[str]
    seconds: float

    def to_json(self) -> Json:
        """Return the results of all stages, by stage."""
        stages = {name: getattr(self, name) for name in ("ingest", "train", "evaluate", "score")}
        results = {name: result.to_json() for name, result in stages.items() if result is not None}
        return {**results, "skipped": list(self.skipped), "seconds": self.seconds}

    def _repr_html_(self) -> str:
        stages = (self.ingest, self.train, self.evaluate, self.score)
        end = f"<p>skipped: {', '.join(self.skipped) or 'none'}; {self.seconds:.1f} s</p>"
        return "".join(stage._repr_html_() for stage in stages if stage is not None) + end


def _short(value: Any, width: int = 100) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= width else text[: width - 3] + "..."


def _html(value: Any) -> str:
    """Return a field as HTML: mappings of mappings and lists of mappings are tables."""
    if isinstance(value, Mapping) and value and all(isinstance(row, Mapping) for row in value.values()):
        return _rows([{"": name, **row} for name, row in value.items()])
    if isinstance(value, Mapping):
        shown = [f"{name}: {_short(each)}" for name, each in value.items()]
        more = len(shown) - _MOST_PAIRS
        return escape(", ".join(shown[:_MOST_PAIRS]) + (f" and {more:,} more" if more > 0 else ""))
    if isinstance(value, Sequence) and value and all(isinstance(row, Mapping) for row in value):
        return _rows(value)
    return escape(_short(value))


def _rows(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [["" if row.get(name) is None else _short(row[name]) for name in names] for row in rows]
    return Table(cells, names)._repr_html_()


def _smaller(file: Path) -> str:
    """Return a picture of a dataset at a size that a notebook can keep."""
    from PIL import Image

    with Image.open(file) as picture:
        small = picture.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    content = io.BytesIO()
    small.quantize(_COLOURS).save(content, "PNG", optimize=True)
    return _picture(content.getvalue())


def _drawn(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI)
    return _picture(file.getvalue())


def _picture(content: bytes) -> str:
    return f"<img src='data:image/png;base64,{base64.b64encode(content).decode()}'>"
