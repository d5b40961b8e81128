"""Where scores may be written."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from convoy.errors import ConfigError
from convoy.inference.sinks.folder import count, output_folder

COLUMNS = ("prediction", "prediction_index", "probability", "error", "model_version")


def write_table(folder, names):
    folder.mkdir()
    pq.write_table(pa.table({name: ["x", None] for name in names}), folder / "part-0.parquet")
    (folder / "_SUCCESS").touch()


def test_an_earlier_result_may_be_replaced_and_an_empty_or_new_folder_taken(tmp_path):
    write_table(tmp_path / "scores", COLUMNS)
    (tmp_path / "empty").mkdir()
    for name in ("scores", "empty", "new"):
        assert output_folder(str(tmp_path / name)) == tmp_path / name


def test_another_table_of_spark_is_not_replaced(tmp_path):
    write_table(tmp_path / "customers", ("name", "address"))
    with pytest.raises(ConfigError, match="holds other files"):
        output_folder(str(tmp_path / "customers"))


def test_home_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert output_folder("~/scores") == tmp_path / "scores"


def test_rows_and_errors_are_counted_whatever_the_folder_is_called(tmp_path):
    write_table(tmp_path / "sc[1]{*}", COLUMNS)
    assert count(tmp_path / "sc[1]{*}") == (2, 1)
