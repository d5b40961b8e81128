"""A logged model as MLflow serves it: image files in, class names and probabilities out.

MLflow imports this module from the model's own copy of the source. It needs no Spark, MLflow or training code.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from convoy.cluster.cores import cores
from convoy.images import BadImage, check_array, decode_text, prepare
from convoy.inference.predictor import Predictor, most_probable
from convoy.models.package import KERAS_FILE, METADATA, ModelPackage, described

_BATCH = 256
_NULL_AS_TEXT = "None"  # what MLflow's server makes of a null in "instances" and "inputs"


class Classifier:
    """The object that ``mlflow.pyfunc.load_model`` wraps.

    Args:
        package: The model.
    """

    def __init__(self, package: ModelPackage) -> None:
        self._package = package
        self._predictor = Predictor(package, _BATCH)

    def predict(self, data: Any) -> pd.DataFrame:
        """Classify samples.

        Args:
            data: For a model of images: a DataFrame, or a dictionary, whose column ``image`` (or only column) has image
                files, as bytes, base64 text or data URIs. For a model of arrays: (N, ...) of the model's shape and
                dtype.

        Returns:
            A row per sample: ``prediction`` (class name), ``prediction_index``, ``probability``, ``error``. If there is
            an error, the others are None; otherwise ``error`` is None.
        """
        package, predictor = self._package, self._predictor
        images = package.geometry is not None
        values = _column(data) if images else _arrays(data)
        parts = [(np.empty(0, np.int32), np.empty(0, np.float32))]
        errors: dict[int, str] = {}
        with ThreadPoolExecutor(cores(), "decode") as pool:
            for start in range(0, len(values), predictor.batch_size):
                part = values[start : start + predictor.batch_size]
                samples = np.zeros((len(part), *package.spec.shape), package.spec.dtype)
                reasons = pool.map(self._image if images else self._array, part, samples)
                bad = {row: reason for row, reason in enumerate(reasons) if reason}
                *found, bad = most_probable(predictor.predict(samples), bad)
                parts.append((found[0], found[1]))
                errors.update({start + row: reason for row, reason in bad.items()})
        index, best = map(np.concatenate, zip(*parts, strict=True))
        return _table(index, best, errors, package, data.index if isinstance(data, pd.DataFrame | pd.Series) else None)

    def _image(self, value: Any, out: np.ndarray) -> str | None:
        """Write the pixels of a file into an array; return the reason if that fails."""
        assert self._package.geometry is not None
        try:
            out[:] = prepare(_content(value), self._package.geometry)
        except BadImage as problem:
            return str(problem)
        except MemoryError:
            return "too_large: it does not fit into memory"
        return None

    def _array(self, value: np.ndarray, out: np.ndarray) -> str | None:
        try:
            out[:] = check_array(value, self._package.spec)
        except BadImage as problem:
            return str(problem)
        return None


def _load_pyfunc(path: str) -> Classifier:
    """Load a logged model; MLflow calls this.

    Args:
        path: Folder of the model.
    """
    folder = Path(path)
    description = yaml.safe_load((folder / "MLmodel").read_text())
    uri = f"models:/{description.get('model_id') or folder.name}"
    content = (folder / KERAS_FILE).read_bytes()
    return Classifier(described(uri, content, description["metadata"][METADATA], description.get("run_id")))


def _column(data: Any) -> list[Any]:
    frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
    if "image" not in frame.columns and len(frame.columns) != 1:
        raise ValueError(f"the columns are {list(frame.columns)}; expected one with image files, 'image'")
    values = list(frame["image"] if "image" in frame.columns else frame.iloc[:, 0])
    if len(values) == 1 and isinstance(values[0], list):  # MLflow's form of a dictionary of one list of texts
        return list(values[0])
    return values


def _arrays(data: Any) -> np.ndarray:
    if isinstance(data, dict) and len(data) == 1:
        (data,) = data.values()
    return np.asarray(data)


def _content(value: Any) -> bytes:
    if isinstance(value, str):
        if value == _NULL_AS_TEXT:
            raise BadImage("empty", "the image is null")
        return decode_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        raise BadImage("empty", "the image is null")
    raise BadImage("unsupported", f"a {type(value).__name__}; expected the bytes of an image file, or base64 text")


def _table(
    index: np.ndarray, best: np.ndarray, reasons: dict[int, str], package: ModelPackage, rows: Any
) -> pd.DataFrame:
    columns: dict[str, Any] = {
        "prediction": np.array(package.classes, object)[index],
        "prediction_index": index,
        "probability": best,
        "error": np.array([reasons.get(row) for row in range(len(index))], object),
    }
    if reasons:
        # None becomes null in JSON; NaN does not.
        for name in ("prediction", "prediction_index", "probability"):
            columns[name] = columns[name].astype(object)
            columns[name][list(reasons)] = None
    labels = rows if rows is not None and len(rows) == len(index) else pd.RangeIndex(len(index))
    # With an explicit dtype, pandas 3 keeps None in a column of text; otherwise it would turn it into NaN.
    return pd.DataFrame({name: pd.Series(values, labels, values.dtype) for name, values in columns.items()})
