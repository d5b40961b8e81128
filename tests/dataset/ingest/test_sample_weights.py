"""Weights of samples: from a column of a manifest or table to the dataset, Petastorm and our reader."""

import csv
import pickle
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from convoy.config import ColumnsConfig, DatasetConfig, ImageConfig, SourceConfig, StorageConfig
from convoy.dataset.ingest.build import ingest
from convoy.dataset.reading.examples import read_split
from convoy.dataset.sources import source_of
from convoy.dataset.storage.describe import manifest_summary
from convoy.dataset.storage.manifest import Manifest
from convoy.dataset.storage.verify import verify
from convoy.errors import SourceError
from tests.conftest import noise
from tests.dataset.ingest.test_ingest import petastorm_rows
from tests.spark_support import encoded, write_images

pytestmark = [pytest.mark.spark, pytest.mark.long]


def write_csv(path, header, *rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def write_parquet(path, /, **columns):
    pq.write_table(pa.table(columns), path)
    return str(path)


def listed(spark, kind, path, **columns):
    """Name -> weight, as a source that has been sent to a worker lists them."""
    source = pickle.loads(pickle.dumps(source_of(SourceConfig(kind, path, columns=ColumnsConfig(**columns)))))
    source.classes(spark)
    return {row.name: row.weight for row in source.listing(spark).collect()}


GIVEN = {"1": 1.0, "0": 0.0, " 2.5 ": 2.5, "1e-3": 1e-3, "+.5": 0.5, "": 1.0, "  ": 1.0, "3.": 3.0}


def test_weights_of_a_csv_manifest_are_numbers_and_one_where_they_are_blank(spark, tmp_path):
    rows = [(f"{i}.png", "ab"[i % 2], text) for i, text in enumerate(GIVEN)]
    weights = listed(spark, "manifest", write_csv(tmp_path / "m.csv", ["path", "label", "weight"], *rows))
    assert [weights[f"{i}.png"] for i in range(len(GIVEN))] == pytest.approx(list(GIVEN.values()))


@pytest.mark.parametrize("kind", ["manifest", "table"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([0.5, None, 2], pa.float64()), [0.5, 1, 2]),
        (pa.array([0, None, 7], pa.uint8()), [0, 1, 7]),
        (pa.array([Decimal("0.25"), None, Decimal("3.00")], pa.decimal128(5, 2)), [0.25, 1, 3]),
        (pa.array(["0.5", None, " "]), [0.5, 1, 1]),
    ],
)
def test_weights_may_be_of_any_type_of_number_and_their_column_has_a_name(spark, tmp_path, kind, values, expected):
    path = write_parquet(tmp_path / "m.parquet", path=list("123"), label=list("aba"), **{"my.weight": values})
    weights = listed(spark, kind, path, weight="my.weight")
    assert [weights[name] for name in "123"] == expected


@pytest.mark.parametrize("kind", ["manifest", pytest.param("table", marks=pytest.mark.long)])
@pytest.mark.parametrize("given", ["-0.5", "NaN", "Infinity", "1e39", "heavy", "1d", "0x1p3", "1,5"])
def test_anything_else_is_refused_with_its_row_before_an_image_is_read(spark, tmp_path, kind, given):
    columns = {"path": ["1.png", "2.png", "3.png"], "label": list("aba"), "weight": ["1", given, "2"]}
    with pytest.raises(SourceError) as caught:
        listed(spark, kind, write_parquet(tmp_path / "m.parquet", **columns))
    said = f"row '2.png' has the weight '{given}'; expected a number of 0 or more, or none for 1"
    assert str(caught.value) == f"{kind} '{tmp_path}/m.parquet': {said}"


@pytest.mark.parametrize("kind", ["table", pytest.param("manifest", marks=pytest.mark.long)])
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf, 1e300])
def test_numbers_that_are_no_weights_are_refused_too(spark, tmp_path, kind, value):
    columns = {"path": ["1.png", "2.png"], "label": list("ab"), "weight": [1.0, value]}
    with pytest.raises(SourceError, match=r"row '2\.png' has the weight '.+'; expected a number of 0 or more"):
        listed(spark, kind, write_parquet(tmp_path / "m.parquet", **columns))


@pytest.mark.parametrize("kind", ["manifest", "table"])
def test_a_column_that_is_no_weight_can_be_ignored_and_one_that_is_missing_is_named(spark, tmp_path, kind):
    path = write_parquet(tmp_path / "m.parquet", path=["1", "2"], label=["a", "b"], weight=[True, False])
    with pytest.raises(SourceError, match=r"'weight' \(source\.columns\.weight\) is of type boolean; expected numbers"):
        listed(spark, kind, path)
    source = source_of(SourceConfig(kind, path, columns=ColumnsConfig(weight=None)))
    assert source.classes(spark) == ["a", "b"]
    assert "weight" not in source.listing(spark).columns
    with pytest.raises(SourceError, match=r"no column 'wieght' \(source\.columns\.weight\).*did you mean 'weight'\?"):
        listed(spark, kind, path, weight="wieght")


def test_ingest_stores_weights_as_a_column_that_petastorm_and_our_reader_read(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 40, "b": 40})
    files = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "images").rglob("*.png"))
    expected = {file: np.float32(i / 7) for i, file in enumerate(files)}

    def run(weights):
        rows = [["path", "label"], *([file, file.split("/")[1]] for file in files)]
        if weights:
            rows = [[*row, weight] for row, weight in zip(rows, ["weight", *weights.values()], strict=True)]
        source = source_of(SourceConfig("manifest", write_csv(tmp_path / "m.csv", *rows)))
        config = DatasetConfig(root=str(tmp_path / "data"), image=ImageConfig(6, 5, 1, "none"))
        return ingest(spark, source, config, lambda *_: None)

    result = run(expected)
    manifest = Manifest.load(result.path)
    assert manifest.weighted
    assert verify(result.path) == []
    assert ["weights", "column weight"] in manifest_summary(result.path, manifest)[0].rows
    for split in manifest.splits:
        data, rows = read_split(result.path, manifest, split), petastorm_rows(result.path, split)
        assert data.weights is not None
        assert data.weights.dtype == np.float32
        assert data.weights.tolist() == [row.weight for row in rows] == [expected[row.path] for row in rows]

    plain, ones = run(None), run(dict.fromkeys(files, 1))
    assert not plain.manifest.weighted
    assert plain.manifest.splits["train"].rows == manifest.splits["train"].rows
    assert read_split(plain.path, plain.manifest, "train").weights is None
    assert "weights" not in [row[0] for row in manifest_summary(plain.path, plain.manifest)[0].rows]
    assert len({version.manifest.fingerprint for version in (result, plain, ones)}) == 3


@pytest.mark.parametrize("content", ["struct", pytest.param("bytes", marks=pytest.mark.long)])
def test_images_in_the_rows_of_a_table_have_weights_too(spark, tmp_path, content):
    pixels = noise(40, 6, 5, 1)
    images = [encoded(image[:, :, 0]) for image in pixels]
    if content == "struct":
        layout = {"height": 6, "width": 5, "nChannels": 1, "mode": 0}
        images = [{"origin": f"{i}.png", **layout, "data": image.tobytes()} for i, image in enumerate(pixels)]
    columns = {"path": [f"{i}.png" for i in range(40)], "label": list("ab") * 20, "weight": [i / 4 for i in range(40)]}
    source = source_of(SourceConfig("table", write_parquet(tmp_path / "t", content=images, **columns)))
    config = DatasetConfig(
        root=str(tmp_path / "data"), image=ImageConfig(6, 5, 1, "none"), storage=StorageConfig(codec="png")
    )
    result = ingest(spark, source, config, lambda *_: None)
    for split in result.manifest.splits:
        table = pq.read_table(result.path / split, columns=["path", "weight"], partitioning=None)
        for path, weight in zip(*table.to_pydict().values(), strict=True):
            assert weight == int(path.removesuffix(".png")) / 4
