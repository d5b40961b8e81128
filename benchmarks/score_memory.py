"""Peak memory and rate of one job that scores a table several times: score_memory.py TABLE NETWORK COLUMN COPIES."""

import functools
import itertools
import json
import os
import sys
import time
from pathlib import Path

import psutil
from epochs import own_stdout
from measure import peak_rss_mb, watched_children
from score_data import package

import convoy
from convoy.cluster.spark import session, stage_progress
from convoy.config import SparkConfig


def main(table: str, network: str, column: str, copies: str) -> None:
    result = own_stdout()
    # Few rows at once in the JVM, as jobs/score.py has it: Spark's own 4,096 large images do not fit in there.
    # And it reads whole row groups, here of 160 MB, for which its usual 1 GiB is not enough.
    large = {"spark.sql.parquet.columnarReaderBatchSize": "32", "spark.driver.memory": "2g"}
    config = SparkConfig(master="local[2]", conf={"spark.sql.files.maxPartitionBytes": "8m", **large})
    done: list[tuple[float, float]] = []  # (seconds, share of the tasks)
    with session("benchmark", config) as spark, watched_children(os.getpid()) as peaks:
        images = spark.read.parquet(table)
        rows = images.count() * int(copies)
        model = package(Path(network))
        convoy.score_images(images.limit(1), model, column, columns=[]).collect()  # one worker has loaded the network
        everything = functools.reduce(lambda one, other: one.union(other), [images] * int(copies))
        scored = convoy.score_images(everything, model, column, columns=[])
        started = time.perf_counter()
        with stage_progress(spark, lambda share: done.append((time.perf_counter() - started, share)), every=0.1):
            scored.write.format("noop").mode("overwrite").save()
        done.append((time.perf_counter() - started, 1.0))
        jvm = {child.pid for child in psutil.Process().children(recursive=True) if "java" in child.name()}
    workers = [peak for pid, peak in peaks.items() if pid not in jvm]
    answer = {"worker": max(workers), "driver": peak_rss_mb(os.getpid()), "jvm": max(peaks[pid] for pid in jvm)}
    print(json.dumps({**answer, "rows": rows, "rates": rates(done, rows)}), file=result)


def rates(done: list[tuple[float, float]], rows: int, parts: int = 5) -> list[float]:
    """Rows per second of each fifth of the job."""
    at = [0.0, *(next(seconds for seconds, share in done if share >= part / parts) for part in range(1, parts + 1))]
    return [rows / parts / max(1e-9, end - begin) for begin, end in itertools.pairwise(at)]


if __name__ == "__main__":
    main(*sys.argv[1:])
