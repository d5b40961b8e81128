"""The functions that run on Spark's workers: Arrow batches in, Arrow batches with predictions out."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext

from convoy.cluster.shared_value import Shared
from convoy.dataset.storage.codec import decode_column
from convoy.dataset.storage.filesystem import location, opened
from convoy.inference import arrow_chunks
from convoy.inference.prediction_columns import Outputs, result_columns
from convoy.inference.predictor import Predictor
from convoy.inference.samples import Kind, Sampler, Samples
from convoy.models.lazy_import import import_tensorflow
from convoy.models.package import ModelPackage
from convoy.monitoring.image_stats import ImageStats

DATASET_COLUMNS = ("label", "path", "digest")
_MODELS_KEPT = 3  # per Python worker: a query may have several


@dataclass(frozen=True)
class ScoreTask:
    """Settings of a worker that scores.

    Attributes:
        model: The package, sent once to every executor.
        batch_size: Most images per call of the network.
        threads: Threads for TensorFlow and for decoding, each.
        outputs: Columns to add.
        half_precision: Compute in 16 bits.
        column: Name of the column with the images.
        kind: Kind of its values.
        kept: Names of the input's columns to keep.
        gauge: Counts brightness and sizes; None counts nothing.
    """

    model: Shared[ModelPackage]
    batch_size: int
    threads: int
    outputs: Outputs = field(default_factory=Outputs)
    half_precision: bool = False
    column: str = "image"
    kind: Kind = "bytes"
    kept: tuple[str, ...] = ()
    gauge: ImageStats | None = None


_loaded: dict[tuple[int, int, bool, bool], Predictor] = {}


def predictor(task: ScoreTask) -> Predictor:
    """Return the task's predictor, loaded once per Python worker and kept between tasks."""
    package = task.model.value
    # Not by URI: the same URI may exist in another store.
    key = (hash(package.keras_file), task.batch_size, task.outputs.embeddings, task.half_precision)
    found = _loaded.pop(key, None)
    if found is None:
        _claim_devices(task.threads)
        found = Predictor(package, task.batch_size, task.outputs.embeddings, task.half_precision)
    _loaded[key] = found  # the newest is the last
    while len(_loaded) > _MODELS_KEPT:
        del _loaded[next(iter(_loaded))]
    return found


def _claim_devices(threads: int) -> None:
    """Set TensorFlow's threads and the task's GPUs, before TensorFlow's first computation in this process."""
    context = TaskContext.get()
    gpus = context.resources().get("gpu") if context is not None else None
    if gpus is not None and "tensorflow" not in sys.modules:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus.addresses)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tf = import_tensorflow()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        for device in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)  # other workers may share the device
    except RuntimeError:
        pass  # TensorFlow has been initialised already, by another query


def score(batches: Iterable[pa.RecordBatch], task: ScoreTask) -> Iterator[pa.RecordBatch]:
    """Add the predictions to batches of whole rows; yield one batch for each.

    While the network works on some images, threads decode the next ones.
    """
    package = task.model.value
    with Sampler(task.kind, package.geometry, package.spec, task.threads) as sampler:
        started = _start(batches, task, sampler)
        parts: list[dict[str, pa.Array]] = []  # not their probabilities, which are large for thousands of classes
        current = next(started, None)
        while current is not None:
            following = next(started, None)  # its threads start before the network does
            samples, batch = current
            probabilities, embeddings = _answer(samples.wait(), task)
            parts.append(result_columns(probabilities, embeddings, samples.errors, package, task.outputs))
            if task.gauge is not None:
                parts[-1] |= task.gauge.add(samples.images, samples.sizes, samples.errors)
            if batch is not None:
                columns = {name: batch.column(batch.schema.get_field_index(name)) for name in task.kept}
                columns |= {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]}
                yield pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
                parts = []
            del samples, batch, probabilities, embeddings
            current = following


def _start(
    batches: Iterable[pa.RecordBatch], task: ScoreTask, sampler: Sampler
) -> Iterator[tuple[Samples, pa.RecordBatch | None]]:
    """Cut batches into equal parts, one per call of the network; the batch is yielded with its last part."""
    for batch in batches:
        most = predictor(task).batch_size
        column = batch.column(batch.schema.get_field_index(task.column))
        parts = -(-batch.num_rows // most)
        for part in range(parts):
            begin, end = (batch.num_rows * n // parts for n in (part, part + 1))
            yield sampler.start(column.slice(begin, end - begin)), batch if part + 1 == parts else None


def _answer(samples: Samples, task: ScoreTask) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and embeddings; zeros for errors, without calling the network if all rows have errors."""
    network = predictor(task)
    if len(samples.errors) < len(samples.images):
        return network.predict_all(samples.images)
    probabilities, embeddings = network.predict_all(samples.images[:0])
    rows = len(samples.images)
    return tuple(np.zeros((rows, part.shape[1]), np.float32) for part in (probabilities, embeddings))  # type: ignore[return-value]


def score_pieces(batches: Iterable[pa.RecordBatch], task: ScoreTask, size: int) -> Iterator[pa.RecordBatch]:
    """Score rows that ``arrow_chunks.split`` has cut into pieces of that size."""
    return score(arrow_chunks.join(batches, task.column, size), task)


def score_row_groups(batches: Iterable[pa.RecordBatch], task: ScoreTask) -> Iterator[pa.RecordBatch]:
    """Score whole row groups of a dataset, given as rows (file, row_group)."""
    return score(_row_groups(batches), replace(task, column="image", kind="bytes", kept=DATASET_COLUMNS))


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for table in _tables(batches, ["image", *DATASET_COLUMNS]):
        yield from table.to_batches()


def _tables(batches: Iterable[pa.RecordBatch], columns: list[str]) -> Iterator[pa.Table]:
    for batch in batches:
        for row in batch.to_pylist():
            with opened(location(row["file"])) as file:
                yield pq.ParquetFile(file).read_row_group(row["row_group"], columns=columns)


def list_row_groups(
    batches: Iterable[pa.RecordBatch], row_groups: Sequence[tuple[str, int]]
) -> Iterator[pa.RecordBatch]:
    """Convert rows (id) to the row groups with those indices."""
    for batch in batches:
        files, indices = zip(*(row_groups[i] for i in batch.column("id").to_pylist()), strict=True)
        yield pa.RecordBatch.from_pydict({"file": list(files), "row_group": pa.array(indices, pa.int32())})


def measure_row_groups(
    batches: Iterable[pa.RecordBatch], task: ScoreTask, others: Sequence[ScoreTask], codec: str
) -> Iterator[pa.RecordBatch]:
    """Yield the columns of ``measure_columns`` for every row of whole row groups."""
    spec = task.model.value.spec
    for table in _tables(batches, ["image", "label"]):
        images = np.concatenate(decode_column(table.column("image"), codec, spec.shape, dtype=spec.dtype))
        labels = table.column("label").to_numpy()
        size = predictor(task).batch_size
        for start in range(0, len(labels), size):
            part = slice(start, start + size)
            yield _measured(images[part], labels[part], task, others)


def _measured(images: np.ndarray, labels: np.ndarray, task: ScoreTask, others: Sequence[ScoreTask]) -> pa.RecordBatch:
    probabilities = predictor(task).predict(images)
    of_true = probabilities[np.arange(len(labels)), labels]
    columns = {
        "label": labels.astype(np.int32),
        "prediction_index": probabilities.argmax(axis=1).astype(np.int32),
        "rank_of_true": (probabilities > of_true[:, None]).sum(axis=1).astype(np.int32),
        "probability_of_true": of_true,
        "confidence": probabilities.max(axis=1),
    }
    for i, other in enumerate(others):
        columns[f"other_{i}"] = predictor(other).predict(images).argmax(axis=1).astype(np.int32)
    return pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in columns.items()})


def measure_columns(others: int) -> str:
    """Return the schema of a row's measurements: those of the model, and predictions of the given number of others."""
    own = "label int, prediction_index int, rank_of_true int, probability_of_true float, confidence float"
    return ", ".join([own, *(f"other_{i} int" for i in range(others))])
