"""The daemon of a local master: tasks run, fail and report as with PySpark's own."""

import gc
import os
import threading

import pyarrow as pa
import pytest
from pyspark.errors import PythonException

from convoy.spark_daemon import quiet_readers

pytestmark = pytest.mark.spark


def describe(batches):
    for _ in batches:
        pass
    described = {"frozen": [gc.get_freeze_count()], "pid": [os.getpid()]}
    yield pa.RecordBatch.from_pydict(described)


def fail(batches):
    raise ValueError("a task that fails")
    yield from batches


def run(spark, work, tasks=8):
    return spark.range(tasks, numPartitions=tasks).mapInArrow(work, "frozen long, pid long").collect()


def test_a_local_session_uses_it_and_reuses_its_workers(spark):
    run(spark, describe)
    rows = run(spark, describe)
    assert all(row.frozen for row in rows)
    assert len({row.pid for row in rows}) < len(rows)


def test_a_failure_is_reported_and_the_next_task_runs(spark):
    with pytest.raises(PythonException, match="a task that fails"):
        run(spark, fail)
    assert len(run(spark, describe)) == 8


def test_modules_that_appear_in_a_folder_are_found(spark, tmp_path):
    (tmp_path / "first.py").write_text("number = 1\n")
    spark.sparkContext.addPyFile(str(tmp_path / "first.py"))
    rows = spark.range(2, numPartitions=2).mapInArrow(import_first, "number long").collect()
    assert {row.number for row in rows} == {1}


def import_first(batches):
    import first  # type: ignore[import-untyped]

    for _ in batches:
        pass
    yield pa.RecordBatch.from_pydict({"number": [first.number]})


def test_readers_of_ended_ranks_say_nothing_and_other_threads_do(capsys):
    def failing(error):
        def work():
            raise error

        return threading.Thread(target=work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "excepthook", quiet_readers)
        for error in (RuntimeError("Pipe is closed"), RuntimeError("Pipe is open")):
            thread = failing(error)
            thread.start()
            thread.join()
    said = capsys.readouterr().err
    assert "Pipe is open" in said
    assert "Pipe is closed" not in said
