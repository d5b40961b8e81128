"""The report of a training: ``report.html`` and its pictures."""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from convoy.config import Config
from convoy.console import say
from convoy.dataset.reading.examples import Samples, read_samples
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest
from convoy.evaluation.calibration import reliability
from convoy.evaluation.confusion import picture_of
from convoy.insight import sample_sections
from convoy.insight.charts import layers_by_epoch, rate_curve, reliability_diagram
from convoy.insight.page import Page
from convoy.insight.predictions import Predictions, predict
from convoy.insight.verdict import RULE, Verdict, verdict
from convoy.plots.training import augmented_sheet, confusion_picture, training_curves
from convoy.training.callbacks.layer_health import DEAD_SHARE, SAMPLES
from convoy.training.input.augmentation import Augmenter

_TABLE = 50  # most rows of a table
_CONFUSIONS = 15
_AUGMENTED = 6


@dataclass(frozen=True)
class Trained:
    """A training to explain.

    Attributes:
        config: The configuration.
        path: Folder of the dataset version.
        manifest: Its manifest.
        run_id: Id of the run.
        history: Epoch, from 0 -> its metrics.
        health: Epoch, from 0 -> ``dead_units/<layer>`` and ``gradient_norm/<layer>``.
    """

    config: Config
    path: Location
    manifest: Manifest
    run_id: str
    history: Mapping[int, Mapping[str, float]]
    health: Mapping[int, Mapping[str, float]]


def explainer(config: Config, path: Location, manifest: Manifest) -> Callable[[Any, keras.Model], None]:
    """Return a function that creates the report of a trained network and logs it to its (open) run.

    Args:
        config: The configuration.
        path: Folder of the dataset version.
        manifest: Its manifest.
    """

    def explain(run: Any, model: keras.Model) -> None:
        trained = Trained(config, path, manifest, run.run_id, run.history, run.health)
        log_report(trained, model, run.log_folder)

    return explain


def log_report(trained: Trained, model: keras.Model, log: Callable[[Path], None]) -> None:
    """Write the report into a folder and pass it to ``log``. Errors become warnings: the model is more important.

    Args:
        trained: The training.
        model: The trained network, from raw samples to probabilities.
        log: Receives the folder.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
            write_report(trained, model, Path(folder))
            log(Path(folder))
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        say(f"warning: the run has no report.html ({text}); disable it with --tracking.report false")


def write_report(trained: Trained, model: keras.Model, folder: Path) -> Path:
    """Write ``report.html`` and ``report/*.png``; return the page's path.

    Args:
        trained: The training.
        model: The trained network.
        folder: Folder to write to.
    """
    manifest, config = trained.manifest, trained.config
    history = [trained.history[epoch] for epoch in sorted(trained.history)]
    judged = verdict(history, len(manifest.classes))
    found = predict(model, trained.path, manifest)
    page = Page(
        folder,
        f"{config.model.name} on {manifest.name}",
        f"Run {trained.run_id}, dataset {manifest.name} {manifest.version}: {manifest.split('train').rows:,} training"
        f" samples of {'x'.join(map(str, manifest.shape))} in {len(manifest.classes):,} classes"
        f" ({_listed(manifest.classes)})",
    )
    page.tiles = _tiles(found, judged, len(history), model)
    _curves(page, trained, history, judged)
    _confusion(page, found, manifest.classes)
    _classes(page, found, manifest.classes)
    _calibration(page, found)
    sample_sections.doubtful(page, trained.path, manifest, found)
    if len(manifest.shape) == 3:
        sample_sections.evidence(page, trained.path, manifest, found, model)
        sample_sections.inside(page, trained.path, manifest, found, model)
    _layers(page, trained.health)
    if config.training.augmentation.enabled and manifest.image is not None:
        _augmentation(page, trained)
    return page.write(
        f"Of {found.rows:,} validation samples, {len(found):,} were evaluated"
        + (" (the first ones; they are stored in random order)." if len(found) < found.rows else ".")
        + " Written by Convoy; the pictures are beside this page, in report/."
    )


def _tiles(found: Predictions, judged: Verdict, epochs: int, model: keras.Model) -> list[tuple[str, str, str]]:
    right = float((found.predicted == found.labels).mean())
    error = reliability(found.confidence, found.predicted == found.labels).expected_error
    return [
        (f"{right:.2%}", f"accuracy on {len(found):,} validation samples", ""),
        (judged.name, "verdict on the fit", judged.name),
        (f"{error:.2%}", "expected calibration error", ""),
        (f"{epochs}", "epoch" if epochs == 1 else "epochs", ""),
        (f"{model.count_params():,}", "parameters", ""),
    ]


def _curves(page: Page, trained: Trained, history: Sequence[Mapping[str, float]], judged: Verdict) -> None:
    page.section(
        "Training",
        "Both curves should fall (loss) or rise (accuracy) together and level off. If training continues to improve"
        " while validation does not, the model overfits; two curves that end far from good show underfitting. The"
        " training curves are means over each epoch, the validation curves are measured at its end.",
    )
    page.picture("training_curves", training_curves(history), "Loss and accuracy over the epochs")
    page.text(f"Verdict: {judged.name}, since {judged.reason}. What usually helps: {judged.advice}.")
    page.text(f"The rule. {RULE}", "how")
    rates = [row["learning_rate"] for row in history if "learning_rate" in row]
    page.heading("Learning rate")
    rows = trained.manifest.split("train").rows
    page.picture("learning_rate", rate_curve(trained.config.training, rows, rates), "The learning rate over the epochs")


def _confusion(page: Page, found: Predictions, classes: Sequence[str]) -> None:
    page.section(
        "Confusion",
        "A row for each true class, a column for each prediction. Correct predictions are on the diagonal; a dark field"
        " off it is a class that is mistaken for another, and a dark column is a class that is predicted too often.",
    )
    measured = found.evaluate()
    title = f"validation: accuracy {measured.accuracy:.2%} of {measured.rows:,}"
    shown = picture_of(measured.cells, classes)
    figure = confusion_picture(shown.counts, shown.names, title + shown.note)
    page.picture("confusion_matrix", figure, "Confusion matrix")
    pairs = found.confused(_CONFUSIONS)
    if pairs:
        page.heading("Most frequent confusions")
        rows = [
            [classes[true], classes[other], f"{count:,}", f"{count / measured.support[true]:.2%}"]
            for true, other, count in pairs
        ]
        page.table(["true", "taken for", "samples", "of the class"], rows, texts=2)


def _classes(page: Page, found: Predictions, classes: Sequence[str]) -> None:
    page.section(
        "Classes",
        "Precision: of the samples predicted as the class, the share that is of it. Recall: of the class's samples, the"
        " share found. F1: their harmonic mean. Confidence: the mean probability of the predicted class over the"
        " class's samples; far above the recall, the network is overconfident.",
    )
    measured = found.evaluate()
    sums = np.bincount(found.labels, found.confidence, len(classes))
    confidence = sums / np.maximum(measured.support, 1)
    order = np.arange(len(classes))
    if len(classes) > _TABLE:
        order = np.argsort(np.where(measured.support > 0, measured.f1, np.inf), kind="stable")[:_TABLE]
        page.text(f"The {_TABLE} classes with the lowest F1, of {len(classes):,}.")
    rows = []
    for i in map(int, order):
        values = [measured.precision[i], measured.recall[i], measured.f1[i], confidence[i]]
        seen = measured.support[i] > 0
        rows.append([classes[i], *(f"{v:.4f}" if seen else "–" for v in values), f"{measured.support[i]:,}"])
    page.table(["class", "precision", "recall", "F1", "confidence", "samples"], rows, bars=(1, 2, 3, 4))
    absent = [name for name, count in zip(classes, measured.support, strict=True) if not count]
    if absent:
        page.text(f"Not among the evaluated samples: {_listed(absent)}.")


def _calibration(page: Page, found: Predictions) -> None:
    page.section(
        "Calibration",
        "If the network says 80%, is it right in 80 of 100 cases? Bars that end on the dashed line are calibrated;"
        " below it the network is overconfident, above it underconfident. The expected calibration error is the mean"
        " distance, weighted by the samples in each bin (Guo et al. 2017, 15 bins); the lower chart counts them.",
    )
    right = found.predicted == found.labels
    result = reliability(found.confidence, right)
    page.picture("reliability", reliability_diagram(result), "Reliability diagram")
    page.text(
        f"Mean confidence {found.confidence.mean():.2%}, accuracy {right.mean():.2%}; expected calibration error"
        f" {result.expected_error:.2%}, largest {result.largest_error:.2%}."
    )


def _layers(page: Page, health: Mapping[int, Mapping[str, float]]) -> None:
    dead, norms = (by_layer(health, kind) for kind in ("dead_units/", "gradient_norm/"))
    if not dead and not norms:
        return
    page.section(
        "Layers while training",
        f"Measured after each epoch on the same {SAMPLES} validation samples or fewer, without dropout. Each line is a"
        " layer, dark at the input and bright at the output.",
    )
    if dead:
        page.heading("Dead units")
        page.text(
            "The share of a ReLU layer's units (channels of convolutions) that are 0 for all of these samples. They"
            f" learn nothing from them. Above {DEAD_SHARE:.0%} (dashed) a large part of the layer is idle: lower the"
            " learning rate, or try another activation or initialiser.",
            "how",
        )
        chart = layers_by_epoch(dead, "dead units", limit=DEAD_SHARE)
        page.picture("dead_units", chart, "Share of dead units of each layer over the epochs")
        for name, shares in dead.items():
            if max((share for share in shares if math.isfinite(share)), default=0) > DEAD_SHARE:
                at = int(np.nanargmax(shares))
                page.text(f"{name}: {shares[at]:.0%} of its units were dead after epoch {at + 1}.", "warning")
    else:
        page.text("The network has no ReLU layers, so it cannot have dead units.")
    if norms:
        page.heading("Gradient norms")
        page.text(
            "The Euclidean norm of the gradient of each layer's weights. Lines that are decades below the others are"
            " layers that hardly learn (vanishing gradients); lines that rise without limit precede a loss of nan"
            " (exploding gradients).",
            "how",
        )
        page.picture("gradient_norms", layers_by_epoch(norms, "gradient norm", log=True), "Gradient norm of each layer")


def _augmentation(page: Page, trained: Trained) -> None:
    page.section(
        "Augmentation",
        "The first training images, unchanged and as the first epochs saw them. Images that a person could no longer"
        " recognise do not help the network either.",
    )
    manifest, training = trained.manifest, trained.config.training
    count = min(_AUGMENTED, manifest.split("train").rows)
    first: Samples = read_samples(trained.path, manifest, "train", np.arange(count))
    augmenter = Augmenter(training.augmentation, training.seed, manifest.pixel_mean)
    page.picture("augmented", augmented_sheet(first.images, augmenter, _AUGMENTED), "Augmented training images")


def by_layer(health: Mapping[int, Mapping[str, float]], kind: str) -> dict[str, list[float]]:
    """Convert metrics by epoch to values by layer, nan if an epoch has none."""
    names = dict.fromkeys(name for row in health.values() for name in row if name.startswith(kind))
    epochs = range(max(health, default=-1) + 1)
    return {name.removeprefix(kind): [health.get(epoch, {}).get(name, math.nan) for epoch in epochs] for name in names}


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name if len(name) <= 40 else name[:39] + "…" for name in names[:12])
    return shown + (f" and {len(names) - 12:,} more" if len(names) > 12 else "")
