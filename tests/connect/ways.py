"""What works on both kinds of sessions, as functions (session, folder) -> result.

``python -m tests.connect.ways NAME FOLDER`` calls one on a session of the server that ``SPARK_REMOTE`` names, and
prints the result as JSON: PySpark has one kind of session per process.
"""

import contextlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.dataset as ds

import convoy
from convoy.config import (
    ColumnsConfig,
    Config,
    DatasetConfig,
    EvaluationConfig,
    ImageConfig,
    ModelConfig,
    ScoringConfig,
    SourceConfig,
    TrackingConfig,
)
from convoy.dataset.storage.manifest import Manifest

MODEL = "models:/animals/1"


def config_in(folder, **scoring):
    """Return a configuration for the images and the model in a folder; results are beside the session's kind."""
    own = folder / os.environ.get("SPARK_REMOTE", "classic")[:2]
    return Config(
        source=SourceConfig(kind="folder", path=str(folder / "images")),
        dataset=DatasetConfig(
            name="animals", root=str(own / "data"), image=ImageConfig(8, 6, 3),
            validation_fraction=0.2, test_fraction=0.2, max_bad_fraction=0.1,
        ),
        tracking=TrackingConfig(f"sqlite:///{folder}/mlflow.db", "animals"),
        evaluation=EvaluationConfig(model=MODEL, bootstrap=0, top_k=2),
        scoring=ScoringConfig(
            **{"model": MODEL, "input": str(folder / "images"), "output": str(own / "scores"), **scoring}
        ),
    )  # fmt: skip


def rows_of(folder):
    """Return the rows of a result, in the order of their paths."""
    rows = ds.dataset(str(folder), format="parquet").to_table().to_pylist()
    return sorted(rows, key=lambda row: str(row.get("path")))


def collected(frame):
    return [row.asDict(recursive=True) for row in frame.collect()]


def everything(spark, folder):
    """Ingest a folder, evaluate a model, score the folder by the job, as a DataFrame and in SQL."""
    config = config_in(folder)
    ingested = convoy.ingest(config, spark)
    evaluated = convoy.evaluate(config, spark)
    scored = convoy.score(config, spark)
    files = spark.read.format("binaryFile").load(f"{folder}/images/*/*.png").select("path", "content")
    frame = convoy.score_images(files, MODEL, columns=["path"], top_k=2, embeddings=True)
    convoy.register_udf(spark, "classify", MODEL)
    files.createOrReplaceTempView("files")
    return {
        "version": ingested.version,
        "rows": ingested.rows,
        "quarantined": ingested.quarantined,
        "metrics": evaluated.metrics,
        "scores": rows_of(config.scoring.output),
        "drift": scored.summary["drift"],
        "errors": scored.summary["errors_by_reason"],
        "frame": collected(frame.orderBy("path")),
        "sql": collected(spark.sql("SELECT path, classify(content) AS found FROM files ORDER BY path")),
    }


def sources(spark, folder):
    """Ingest from all kinds of sources."""
    (folder / "labels.csv").write_text(
        "path,label\n" + "".join(f"{path},{path.parent.name}\n" for path in (folder / "images").glob("*/*.png"))
    )
    table = folder / "table"
    if not table.exists():
        rows = spark.read.format("binaryFile").load(f"{folder}/images/*/*.png").selectExpr(
            "path", "content", "concat('00', crc32(path) % 2) AS label"
        )  # fmt: skip
        rows.write.partitionBy("label").parquet(str(table))
    found = {}
    for name, source in {
        "manifest": SourceConfig(kind="manifest", path=str(folder / "labels.csv")),
        "partitions": SourceConfig(kind="table", path=str(table), columns=ColumnsConfig(image="content")),
        "files": SourceConfig(kind="table", path=str(folder / "images"), format="binaryFile"),
        "struct": SourceConfig(kind="table", path=str(folder / "images"), format="image"),
        "digits": SourceConfig(kind="digits"),
    }.items():
        config = replace(config_in(folder), source=source)
        config = replace(config, dataset=replace(config.dataset, name=name))
        result = convoy.ingest(config, spark)
        found[name] = {"version": result.version, "classes": Manifest.load(Path(result.path)).classes}
    petastorm = SourceConfig(kind="petastorm", path=str(Path(result.path)))
    config = replace(config_in(folder), source=petastorm)
    found["petastorm"] = convoy.ingest(replace(config, dataset=replace(config.dataset, name="again")), spark).rows
    return found


def sinks(spark, folder):
    """Score a split, to a table, again with new files only, and as a stream."""
    config = config_in(folder)
    own = Path(config.scoring.output).parent
    convoy.ingest(config, spark)
    split = config_in(folder, input="dataset:test", output=str(own / "split"))
    found = {"split": convoy.score(split, spark).summary["rows"], "rows": rows_of(own / "split")}
    table = config_in(folder, output="table:scored", mode="overwrite")
    for _ in range(2):  # the second time it is replaced
        scored = convoy.score(table, spark).summary
        found["table"] = {name: scored[name] for name in ("classes", "errors")}
    found["table rows"] = collected(spark.table("scored").orderBy("path"))
    again = config_in(folder, mode="incremental", output=str(own / "again"))
    found["incremental"] = [convoy.score(again, spark).rows]
    stream = config_in(folder, stream=True, output=str(own / "stream"))
    found["stream"] = [convoy.score(stream, spark).rows]
    new = folder / "images" / "ant" / "new.png"
    new.write_bytes((folder / "images" / "bee" / "0.png").read_bytes())
    found["incremental"].append(convoy.score(again, spark).rows)
    found["stream"].append(convoy.score(stream, spark).rows)
    new.unlink()
    found["streamed"] = rows_of(own / "stream")
    return found


def refusals(spark, folder):
    """Return what is said where a classic session is needed, and whether training in the client works."""
    from convoy.errors import ConvoyError

    network = ModelConfig(layers=["flatten", {"dense": {"activation": "softmax"}}])  # takes images of any size
    config = replace(config_in(folder), model=network)
    convoy.ingest(config, spark)
    said = {}
    for name, call in {
        "ranks": lambda: convoy.train(config, spark),
        "pipeline": lambda: convoy.pipeline(config, spark),
        "table": lambda: convoy.score(config_in(folder, output="table:x", format="delta"), spark),
    }.items():
        try:
            call()
        except ConvoyError as error:
            said[name] = str(error)
    alone = replace(config.training, num_workers=0, epochs=1, global_batch_size=8)
    small = replace(config, training=alone, tracking=replace(config.tracking, report=False))
    said["epochs"] = len(convoy.train(small, spark).epochs)
    return said


def main(name, folder):
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.remote(os.environ["SPARK_REMOTE"]).getOrCreate()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            result = globals()[name](spark, Path(folder))
        print(json.dumps(result))
    finally:
        spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
