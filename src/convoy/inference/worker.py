"""What runs on Spark's workers: Arrow batches in, Arrow batches with predictions out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import Broadcast

from convoy.dataset.codec import decode_column
from convoy.images import BadImage, prepare
from convoy.inference.predictor import Predictor
from convoy.models.package import ModelPackage

PREDICTION_COLUMNS = "prediction string, prediction_index int, probability float, error string, model_version string"
_DATASET_COLUMNS = ("label", "path", "digest")


@dataclass(frozen=True)
class ScoreTask:
    """What a worker needs to score.

    Attributes:
        model: The package, broadcast once to every executor.
        batch_size: Images per call of the network.
        threads: Threads for TensorFlow.
    """

    model: "Broadcast[ModelPackage]"
    batch_size: int
    threads: int


_loaded: dict[tuple[int, int], Predictor] = {}


def predictor(task: ScoreTask) -> Predictor:
    """The task's predictor, loaded once per Python worker and kept between tasks."""
    package = task.model.value
    key = (hash(package.keras_file), task.batch_size)  # not the URI: another store may have the same one
    if key not in _loaded:
        import tensorflow as tf

        if not _loaded:
            tf.config.threading.set_intra_op_parallelism_threads(task.threads)
            tf.config.threading.set_inter_op_parallelism_threads(task.threads)
        _loaded.clear()
        _loaded[key] = Predictor(package, task.batch_size)
    return _loaded[key]


def score_paths(batches: Iterable[pa.RecordBatch], task: ScoreTask) -> Iterator[pa.RecordBatch]:
    """Read, decode and score the files of column ``path``; a file that cannot be scored gets its ``error``."""
    package = task.model.value
    assert package.geometry is not None  # ``score_input`` refuses files for a model that takes arrays
    for batch in batches:
        for part in pa.Table.from_batches([batch]).to_batches(max_chunksize=4 * task.batch_size):
            paths = part.column("path").to_pylist()
            images = np.zeros((len(paths), *package.geometry.shape), np.uint8)
            errors: list[str | None] = [None] * len(paths)
            for i, path in enumerate(paths):
                try:
                    with open(path, "rb") as file:
                        images[i] = prepare(file.read(), package.geometry)
                except BadImage as problem:
                    errors[i] = str(problem)
                except OSError as problem:
                    errors[i] = f"unreadable: {problem.strerror or problem}"
            yield _with_predictions(part, _predict_good(images, errors, task), errors, package)


def score_row_groups(batches: Iterable[pa.RecordBatch], task: ScoreTask, codec: str) -> Iterator[pa.RecordBatch]:
    """Score whole row groups of a dataset, given as rows (file, row_group)."""
    package = task.model.value
    for table, images in _row_groups(batches, package, codec):
        errors: list[str | None] = [None] * len(table)
        columns = pa.RecordBatch.from_arrays(
            [table.column(name).combine_chunks() for name in _DATASET_COLUMNS], names=list(_DATASET_COLUMNS)
        )
        yield _with_predictions(columns, predictor(task).predict(images), errors, package)


def measure_row_groups(batches: Iterable[pa.RecordBatch], task: ScoreTask, codec: str) -> Iterator[pa.RecordBatch]:
    """For every row of whole row groups: label, prediction, rank and probability of the true class."""
    for table, images in _row_groups(batches, task.model.value, codec):
        probabilities = predictor(task).predict(images)
        labels = table.column("label").to_numpy()
        of_true = probabilities[np.arange(len(labels)), labels]
        columns = {
            "label": labels.astype(np.int32),
            "prediction_index": probabilities.argmax(axis=1).astype(np.int32),
            "rank_of_true": (probabilities > of_true[:, None]).sum(axis=1).astype(np.int32),
            "probability_of_true": of_true,
        }
        yield pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in columns.items()})


MEASURE_COLUMNS = "label int, prediction_index int, rank_of_true int, probability_of_true float"


def _row_groups(
    batches: Iterable[pa.RecordBatch], package: ModelPackage, codec: str
) -> Iterator[tuple[pa.Table, np.ndarray]]:
    for batch in batches:
        for row in batch.to_pylist():
            table = pq.ParquetFile(row["file"]).read_row_group(row["row_group"])
            column, spec = table.column("image"), package.spec
            yield table, np.concatenate(decode_column(column, codec, spec.shape, dtype=spec.dtype))


def _predict_good(images: np.ndarray, errors: list[str | None], task: ScoreTask) -> np.ndarray:
    """Predict the images without an error; the other rows are zero."""
    good = np.array([error is None for error in errors], bool)
    probabilities = np.zeros((len(images), len(task.model.value.classes)), np.float32)
    if good.any():
        probabilities[good] = predictor(task).predict(images[good] if not good.all() else images)
    return probabilities


def _with_predictions(
    rows: pa.RecordBatch, probabilities: np.ndarray, errors: list[str | None], package: ModelPackage
) -> pa.RecordBatch:
    bad = np.array([error is not None for error in errors], bool)
    index = probabilities.argmax(axis=1).astype(np.int32)
    names = pa.array(package.classes, pa.string())
    nullable_index = pa.array(index, mask=bad)
    columns: dict[str, Any] = {name: rows.column(i) for i, name in enumerate(rows.schema.names)}
    columns |= {
        "prediction": names.take(nullable_index),
        "prediction_index": nullable_index,
        "probability": pa.array(probabilities[np.arange(len(index)), index], pa.float32(), mask=bad),
        "error": pa.array(errors, pa.string()),
        "model_version": pa.array([package.uri] * len(errors), pa.string()),
    }
    return pa.RecordBatch.from_pydict(columns)
