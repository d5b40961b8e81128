"""Section ``scoring``."""

import math
from dataclasses import dataclass
from typing import Literal

from convoy.config.locations import is_object_url, local_field, local_or_named, stored_or_named
from convoy.config.validation import require, settle


@dataclass(frozen=True)
class ScoringConfig:
    """Input and output of `jobs/score.py`."""

    model: str | None = None
    """MLflow model URI, as for evaluation.model."""
    preprocessing: Literal["none", "0..1", "-1..1", "imagenet", "caffe"] | dict[str, list[float]] | None = None
    """Preprocessing of pixels (0 to 255) with which a model that Convoy did not train was trained:
    `none`, a scale to `0..1` or `-1..1`, `imagenet` (0..1, minus ImageNet's mean, divided by its deviation), `caffe`
    (BGR minus ImageNet's mean: ResNet50, VGG16 and VGG19 of `keras.applications`), or `{mean: [...], std: [...]}` of
    each channel, in units of the samples. Evaluation and `convoy import-model` use it too, as the next four fields."""
    head: Literal["softmax", "sigmoid", "logits"] | None = None
    """What such a model returns: probabilities (`softmax`), the probability of the second of two classes (`sigmoid`),
    or `logits`; null derives it from its last layer, and from the loss that it was compiled with."""
    classes: list[str] | str | None = None
    """Class names of such a model, in the order of its outputs, or a text file with one in each line (also
    Teachable Machine's `labels.txt`); null names them 0, 1, ..."""
    image_size: list[int] | None = None
    """Size that images are resized to for such a model, [height, width] or [height, width, channels]; null takes the
    size of its input."""
    resize: Literal["stretch", "letterbox", "center_crop", "none"] | None = None
    """How images are resized for such a model, as for dataset.image.resize; null is stretch."""
    input: str | None = None
    """A folder of images (searched recursively), a glob, Parquet files, the folder of a table (Parquet with partitions,
    Delta, Iceberg, Hudi), `table:<name>` for a table of Spark's catalog, or `dataset:<split>` for a split of the
    configured dataset."""
    image_column: str | None = None
    """Column with the images of Parquet files or a table; null is the first of content, image and path."""
    columns: list[str] | None = None
    """Columns of Parquet files or a table to keep beside the predictions; null keeps all, including the images."""
    output: str = "work/scores"
    """Folder of Parquet files to write, also in an object store (`s3://bucket/scores`), or `table:<name>` for a table
    of Spark's catalog."""
    mode: Literal["overwrite", "append", "incremental"] | None = None
    """What happens to an earlier result: `overwrite` replaces it when the new one is complete, `append` adds all rows
    to it, `incremental` adds the rows that this model version has not scored there yet; null is overwrite, or append
    for a stream."""
    format: Literal["parquet", "delta"] = "parquet"
    """Format of a new table; delta needs its jar (spark.jars.packages in spark.conf)."""
    key: str = "path"
    """Column that identifies rows, for mode incremental."""
    stream: bool = False
    """Score the files of a folder that have not been scored before, with Structured Streaming, whose state is kept in
    `<scoring.output>.checkpoint`."""
    stream_interval: float | None = None
    """Trigger interval in seconds of a stream that runs until it is stopped; null ends the stream once all existing
    files are scored."""
    batch_size: int = 256
    """Largest number of images per call of the network; fewer are used if the images are large."""
    top_k: int | None = None
    """Add a column `top_k` with this many most probable classes."""
    probabilities: bool = False
    """Add a column `probabilities` with the probabilities of all classes."""
    embeddings: bool = False
    """Add a column `embedding` with the input of the last layer that has weights."""
    half_precision: bool = False
    """Compute in 16 bits: bfloat16 on a CPU, float16 on a GPU."""
    max_error_fraction: float = 0.5
    """Share of rows that may have an error; if more rows have one, nothing is published and the job fails."""
    log_run: bool = False
    """Log the summary and the histograms to an MLflow run, linked to the model, in tracking.experiment."""

    def __post_init__(self) -> None:
        if self.input is not None:
            instead = ", table:<name> or dataset:<split>"
            settle(self, "input", local_or_named("scoring.input", self.input, ("table:", "dataset:"), instead))
        settle(self, "output", stored_or_named("scoring.output", self.output, ("table:",), " or table:<name>"))
        if isinstance(self.classes, str):
            settle(self, "classes", local_field("scoring.classes", self.classes, ", or a list of names"))
        require(self.batch_size >= 1, "scoring.batch_size", self.batch_size, "at least 1")
        require(self.top_k is None or self.top_k >= 1, "scoring.top_k", self.top_k, "at least 1")
        fraction = self.max_error_fraction
        require(0 <= fraction <= 1, "scoring.max_error_fraction", fraction, "from 0 to 1")
        self._check_facts()
        interval, table = self.stream_interval, self.output.startswith("table:")
        streams = interval is None or (self.stream and 0 < interval < math.inf)
        require(streams, "scoring.stream_interval", interval, "more than 0, and scoring.stream set")
        plain = self.format == "parquet" or table
        require(plain, "scoring.format", self.format, "parquet, unless scoring.output is table:<name>")
        if self.stream:
            require(self.mode in (None, "append"), "scoring.mode", self.mode, "append where scoring.stream is set")
            folder = not table and not is_object_url(self.output)
            require(folder, "scoring.output", self.output, "a folder of a file system where scoring.stream is set")

    def _check_facts(self) -> None:
        given, size = self.preprocessing, self.image_size
        expected = "none, 0..1, -1..1, imagenet, caffe, or {mean: [...], std: [...]}"
        require(not isinstance(given, dict) or set(given) == {"mean", "std"}, "scoring.preprocessing", given, expected)
        fits = size is None or (len(size) in (2, 3) and min(size) >= 1 and size[2:] in ([], [1], [3]))
        require(fits, "scoring.image_size", size, "[height, width], or [height, width, channels] of 1 or 3 channels")
        require(self.classes is None or len(self.classes) > 0, "scoring.classes", self.classes, "names, or a file")

    @property
    def write_mode(self) -> Literal["overwrite", "append", "incremental"]:
        """Return ``mode``, or the mode that null stands for."""
        return self.mode or ("append" if self.stream else "overwrite")
