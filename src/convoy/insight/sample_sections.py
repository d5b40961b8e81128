"""Sections of the report about samples: wrong predictions, their evidence, and the activations of the layers."""

from collections.abc import Sequence

import keras
import numpy as np

from convoy.dataset.reading.examples import Samples, read_samples
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest
from convoy.insight.layers import Watched, filters, grad_cam, watch
from convoy.insight.page import Page
from convoy.insight.pictures import Card, filter_picture, labelled_rows, map_row, overlay, sample_picture, sheet
from convoy.insight.predictions import SPLIT, Predictions

_DOUBTFUL = 24
_EVIDENCE = 6  # of wrong predictions, and of right ones
_INSIDE = 3


def doubtful(page: Page, path: Location, manifest: Manifest, found: Predictions) -> None:
    """Add the samples that are predicted wrongly, and those with the smallest margins."""
    page.section(
        "Most wrong",
        "The samples whose true class has the lowest predicted probability. Often the label is wrong, not the network:"
        " inspect these first, and fix the dataset if necessary.",
    )
    rows = found.most_wrong(_DOUBTFUL)
    if len(rows):
        _sheet(page, "most_wrong", path, manifest, found, rows)
    else:
        page.text(f"None: all of {len(found):,} samples are predicted correctly.")
    page.section(
        "Least certain",
        "The samples whose two most probable classes are closest to each other, right or wrong: the border between the"
        " classes. More training images of this kind help most.",
    )
    _sheet(page, "least_certain", path, manifest, found, found.least_certain(_DOUBTFUL))


def _sheet(page: Page, name: str, path: Location, manifest: Manifest, found: Predictions, rows: np.ndarray) -> None:
    samples, classes = read_samples(path, manifest, SPLIT, rows), manifest.classes
    pictures = [[sample_picture(image, manifest.image is not None)] for image in samples.images]
    cards = _cards(samples, classes, found, pictures, [[""]] * len(rows))
    page.cards(cards)
    page.keep(name, sheet(cards))
    of_true, confidence = found.of_true[rows], found.confidence[rows]
    page.table(
        ["path", "true", "predicted", "probability of it", "of the true class"],
        [
            [place, classes[label], classes[found.predicted[row]], f"{p:.4f}", f"{q:.4f}"]
            for row, place, label, p, q in zip(rows, samples.paths, samples.labels, confidence, of_true, strict=True)
        ],
        texts=3,
    )
    page.folded("As a table, with paths")


def _cards(
    samples: Samples,
    classes: Sequence[str],
    found: Predictions,
    pictures: Sequence[list[np.ndarray]],
    captions: Sequence[list[str]],
) -> list[Card]:
    cards = []
    for i, row in enumerate(samples.rows):
        true, predicted = found.labels[row], found.predicted[row]
        right = bool(true == predicted)
        title = classes[true] if right else f"{classes[true]}, taken for {classes[predicted]}"
        detail = f"{found.confidence[row]:.1%} sure"
        if not right:
            detail += f", true {found.of_true[row]:.1%}"
        cards.append(Card(pictures[i], captions[i], title, detail, samples.paths[i], right))
    return cards


def evidence(page: Page, path: Location, manifest: Manifest, found: Predictions, model: keras.Model) -> None:
    """Add Grad-CAM of a few samples, right and wrong ones; no section if the network has no map of activations."""
    rows = np.concatenate([found.most_wrong(_EVIDENCE), found.rightly_known(_EVIDENCE)])
    samples = read_samples(path, manifest, SPLIT, rows)
    predicted = grad_cam(model, samples.images, found.predicted[rows])
    true = grad_cam(model, samples.images, samples.labels)
    if predicted is None or true is None:
        return
    page.section(
        "Evidence",
        "Grad-CAM (Selvaraju et al. 2017): red marks where the last convolution found evidence for a class, relative to"
        " the rest of the image. For wrong predictions, both classes are shown. Heat on the background, or on a"
        " mark that only one class's images have, shows that the network has learnt something unintended.",
    )
    pictures, captions = [], []
    for i, row in enumerate(rows):
        shown = sample_picture(samples.images[i], manifest.image is not None)
        right = found.predicted[row] == found.labels[row]
        other = manifest.classes[found.predicted[row]]
        pictures.append([shown, overlay(shown, predicted[i])] + ([] if right else [overlay(shown, true[i])]))
        captions.append(["", f"for {other}"] + ([] if right else [f"for {manifest.classes[found.labels[row]]}"]))
    cards = _cards(samples, manifest.classes, found, pictures, captions)
    for some in ([card for card in cards if not card.right], [card for card in cards if card.right]):
        if some:
            page.cards(some)
    page.keep("grad_cam", sheet(cards, 3))


def inside(page: Page, path: Location, manifest: Manifest, found: Predictions, model: keras.Model) -> None:
    """Add the first-layer filters, and the activations of every convolution for a few samples."""
    first = filters(model)
    if first is None:
        return
    name, weights = first
    height, width, channels, count = weights.shape
    page.section(
        "First-layer filters",
        f"The weights of {name}, {count} filters of {height}x{width}x{channels}: the patterns that the network looks"
        " for in the pixels. Smooth edges, bars and blobs are learnt; noise is a sign of too little training, too"
        " little data or too high a learning rate. "
        + ("Each filter in its own range." if channels == 3 else "Red is above 0, blue below.")
        + ("" if channels in (1, 3) else " Of each filter, the first channel."),
    )
    page.picture("filters", filter_picture(weights), f"Filters of {name}")
    rows = found.rightly_known(_INSIDE)
    rows = rows if len(rows) else np.arange(min(_INSIDE, len(found)))
    samples = read_samples(path, manifest, SPLIT, rows)
    page.section(
        "Inside the convolutions",
        "For a few validation samples and each convolution: its activations (the first 12 channels, black least, white"
        " largest), the gradients of the loss with respect to them, its weights (the first 12 filters' first channel)"
        " and their gradients (red above 0, blue below). Maps that are all alike or all 0, and gradients whose extremes"
        " shrink by decades from layer to layer, show where learning stops.",
    )
    for name, layer in watch(model, samples.images, samples.labels).items():
        page.heading(name)
        titles = [f"{manifest.classes[label]}" for label in samples.labels]
        page.picture(f"layer_{name}", layer_picture(layer, titles), f"Activations and gradients of {name}", wide=True)
        values = {
            "activations": layer.activations,
            "activation gradients": layer.activation_gradients,
            "weights": layer.weights,
            "weight gradients": layer.weight_gradients,
        }
        page.table(
            ["", "shape", "least", "largest"],
            [
                [
                    what,
                    "x".join(map(str, value.shape[what.startswith("act") :])),
                    f"{value.min():.4g}",
                    f"{value.max():.4g}",
                ]
                for what, value in values.items()
            ],
        )


def layer_picture(layer: Watched, titles: Sequence[str]) -> np.ndarray:
    """Draw a convolution at work, as ConvNetJS does: activations, weights and the gradients of both.

    Args:
        layer: The layer, from ``insight.layers.watch``.
        titles: Name of each sample.

    Returns:
        uint8 (H, W, 3).
    """
    rows = []
    for title, maps, slopes in zip(titles, layer.activations, layer.activation_gradients, strict=True):
        rows.append((f"activations of {title!r}, {_extremes(maps)}", map_row(maps, False)))
        rows.append((f"gradients of them, {_extremes(slopes)}", map_row(slopes, True)))
    for what, weights in (("weights", layer.weights), ("weight gradients", layer.weight_gradients)):
        # For a depthwise layer, the third axis holds the filters.
        kernels = weights[:, :, 0] if weights.shape[3] > 1 or weights.shape[2] == 1 else weights[..., 0]
        rows.append((f"{what}, {_extremes(weights)}", map_row(kernels, True)))
    return labelled_rows(rows)


def _extremes(values: np.ndarray) -> str:
    return f"{values.min():.3g} to {values.max():.3g}"
