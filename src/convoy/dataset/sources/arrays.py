"""``.npz`` or ``.npy`` files with images, or other arrays, and labels."""

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from convoy.config.locations import absolute
from convoy.dataset.ingest.splits import SPLIT_ALIASES
from convoy.dataset.sources.indexed import IndexedSource, Part, texts
from convoy.dataset.sources.npy import StoredArray, load, stored_arrays
from convoy.errors import SourceError
from convoy.images import ArraySpec, channels_last

_WHOLE = (("images", "labels"), ("x", "y"))
_OF_SPLIT = (("x_{}", "y_{}"), ("{}_images", "{}_labels"), ("images_{}", "labels_{}"))
NUMBERS = {"bool", "float16", "float32", "float64", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64))}
"""Supported types of arrays."""

LARGEST = 1 << 30
"""Most bytes of a sample: a row group, which holds whole samples, has to stay below 2 GiB."""

_EXPECTED = "images and labels, x and y, or x_train, y_train, x_test, y_test (or train_images, train_labels, ...)"


@dataclass(frozen=True)
class ArraysSource(IndexedSource):
    """Arrays named images and labels, x and y, or x_train, y_train, x_test, y_test as in Keras' ``mnist.npz``.

    Attributes:
        path: An ``.npz`` file, a folder of ``.npy`` files with those names, or one of these files.
    """

    path: str

    def parts(self) -> list[Part]:
        """Return the pairs of images and labels, checked against what is supported."""
        stored = self._stored()
        pairs = self._pairs(stored)
        if not pairs:
            found = ", ".join(map(repr, stored)) or "no arrays"
            raise SourceError(f"source.path {self.path!r} holds {found}; expected {_EXPECTED}")
        parts = []
        for images, (labels, split) in pairs.items():
            if labels not in stored:
                raise SourceError(f"source.path {self.path!r} has {images!r} but no {labels!r}; expected both")
            self._check_samples(images, stored[images])
            self._check_labels(labels, stored[labels])
            rows = {name: stored[name].shape[0] for name in (images, labels)}
            if rows[images] != rows[labels]:
                raise SourceError(
                    f"source.path {self.path!r}: {images!r} has {rows[images]:,} samples, {labels!r} has"
                    f" {rows[labels]:,} labels; expected equal numbers"
                )
            parts.append(Part(images, split, rows[images]))
        self._check_alike({part.name: _spec(stored[part.name]) for part in parts})
        return parts

    def array_spec(self) -> ArraySpec | None:
        """Return shape and type of a sample; None for uint8 images with 1 or 3 channels."""
        stored = self._stored()
        return next(_spec(stored[name]) for name in self._pairs(stored))

    def images(self, part: str) -> np.ndarray:
        """Return uint8 images (N, H, W) or (N, H, W, C), or arrays (N, ..., C) of any numeric type."""
        samples = self._load(part)
        return samples[..., None] if samples.ndim == 2 else samples

    def labels(self, part: str) -> np.ndarray:
        """Return integers or strings (N,)."""
        labels, _ = self._pairs(self._stored())[part]
        return self._load(labels).reshape(-1)

    def class_names(self) -> list[str] | None:
        """Return the array ``class_names``, or None if there is none."""
        stored = self._stored()
        if "class_names" not in stored:
            return None
        names = self._load("class_names")
        numeric = all(name in stored and _kind(stored[name]) in "iu" for name, _ in self._pairs(stored).values())
        if names.ndim != 1 or names.dtype.kind not in "US" or len(set(texts(names))) != len(names) or not numeric:
            raise SourceError(
                f"source.path {self.path!r}: class_names is {names.dtype} of shape {names.shape}; expected different"
                " strings of shape (classes,), for labels that are integers"
            )
        return texts(names)

    def describe(self) -> dict[str, Any]:
        """Return kind and absolute path."""
        return {"kind": "arrays", "path": absolute(self.path)}

    def _place(self) -> str:
        path = absolute(self.path)
        return os.path.dirname(path) if path.endswith(".npy") and os.path.isfile(path) else path

    def _stored(self) -> dict[str, StoredArray]:
        return stored_arrays(self._place())

    def _load(self, name: str) -> np.ndarray:
        try:
            return load(self._stored()[name])
        except (SourceError, KeyError, ValueError) as error:
            raise OSError(f"{name}: {error}") from None

    def _pairs(self, stored: dict[str, StoredArray]) -> dict[str, tuple[str, str | None]]:
        """Return a mapping: name of the images -> (name of their labels, split)."""
        for images, labels in _WHOLE:
            if images in stored:
                return {images: (labels, None)}
        return {
            images.format(alias): (labels.format(alias), split)
            for images, labels in _OF_SPLIT
            for alias, split in SPLIT_ALIASES.items()
            if images.format(alias) in stored
        }

    def _check_samples(self, name: str, array: StoredArray) -> None:
        shape, dtype = array.shape, np.dtype(array.dtype)
        if dtype.name not in NUMBERS or len(shape) < 2 or 0 in shape:
            raise SourceError(
                f"source.path {self.path!r}: {name!r} is {dtype} of shape {shape}; expected uint8 images (N, H, W) or"
                " (N, H, W, C) with 1 or 3 channels, or arrays (N, ..., C) of booleans, integers or floats of up to 64"
                " bits"
            )
        if (last := channels_last(shape[1:], batch=True)) is not None:
            raise SourceError(
                f"source.path {self.path!r}: {name!r} is {dtype} of shape {shape}, with its channels first; expected"
                f" channels last, {(shape[0], *shape[2:], shape[1])}: save {name}.{last}"
            )
        if (size := math.prod(shape[1:]) * dtype.itemsize) > LARGEST:
            raise SourceError(
                f"source.path {self.path!r}: {name!r} is {dtype} of shape {shape}, {size / 2**30:.1f} GiB a sample;"
                " expected at most 1 GiB: cut the samples into smaller ones"
            )

    def _check_alike(self, specs: dict[str, ArraySpec | None]) -> None:
        """Raise ``SourceError`` unless the splits agree: images of different sizes are resized, arrays are not."""
        (first, expected), *others = specs.items()
        for name, spec in others:
            if spec != expected:
                raise SourceError(
                    f"source.path {self.path!r}: samples of {first!r} are {expected or 'uint8 images'}, those of"
                    f" {name!r} {spec or 'uint8 images'}; expected one shape and type in all splits"
                )

    def _check_labels(self, name: str, array: StoredArray) -> None:
        shape = array.shape
        if _kind(array) not in "iuUS" or not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
            raise SourceError(
                f"source.path {self.path!r}: {name!r} is {np.dtype(array.dtype)} of shape {shape}; expected one integer"
                " or string per sample, of shape (N,): for one-hot labels take argmax(axis=1)"
            )


def _spec(array: StoredArray) -> ArraySpec | None:
    """Return the spec of arrays; None for uint8 (N, H, W) and (N, H, W, 1 or 3), which are images."""
    dtype, shape = np.dtype(array.dtype).name, array.shape
    if dtype == "uint8" and (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))):
        return None
    return ArraySpec((*shape[1:], 1) if len(shape) == 2 else shape[1:], dtype)


def _kind(array: StoredArray) -> str:
    return np.dtype(array.dtype).kind
