"""Images as text: over REST, and in string columns; Hugging Face's structs."""

import io
import json

import mlflow
import numpy as np
import pyarrow as pa
import pytest
from mlflow.pyfunc import scoring_server

import convoy
from convoy.images import BadImage, decode_text, is_image_text, prepare
from convoy.inference.pyfunc import _load_pyfunc
from convoy.inference.samples import Sampler
from tests.conftest import encoded, noise
from tests.field.inputs.rest import FORMS, data_uri, files, standard, url_safe
from tests.inference.packages import CLASSES, SMALL, package, truth

FILES = files()
PIXELS = np.stack([prepare(content, SMALL) for content in FILES])
BAD = {"null": None, "undecodable": "no base64!", "no image": "data:image/png;base64,AAAA", "empty": ""}


@pytest.fixture(scope="module")
def model(animals):
    return mlflow.pyfunc.load_model(str(animals.folder))


def answers(model, request):
    """What MLflow's server answers: it parses the request by the model's signature, and writes JSON."""
    parsed = scoring_server.infer_and_parse_data(json.loads(json.dumps(request)), model.metadata.get_input_schema())
    written = io.StringIO()
    scoring_server.predictions_to_json(model.predict(parsed), written)
    return json.loads(written.getvalue())["predictions"]


def requests(texts):
    """The forms of one request that MLflow's server takes."""
    rows = [{"image": text} for text in texts]
    return {
        "dataframe_records": {"dataframe_records": rows},
        "dataframe_split": {"dataframe_split": {"columns": ["image"], "data": [[text] for text in texts]}},
        "instances of rows": {"instances": rows},
        "instances": {"instances": texts},
        "inputs of a column": {"inputs": {"image": texts}},
        "inputs": {"inputs": texts},
    }


@pytest.mark.parametrize("form", FORMS)
def test_every_way_to_write_bytes_as_text_gives_the_same_bytes(form):
    for content in FILES:
        assert decode_text(form(content)) == content
        assert is_image_text(form(content))


@pytest.mark.parametrize("text", ["/mnt/images/cats/0001", "images/" + "a" * 200, "x.png", "/9j/cats/1.jpg", "A" * 80])
def test_paths_and_other_texts_are_not_taken_for_images(text):
    assert not is_image_text(text)


@pytest.mark.parametrize("text", ["data:image/png", "data:image/png;base64,#", "x.png", "AAAAA", "http://a/b.png"])
def test_text_that_holds_no_bytes_is_refused_with_its_beginning(text):
    with pytest.raises(BadImage, match=text):
        decode_text(text)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", list(requests([])))
def test_a_server_classifies_them_in_every_form_of_a_request(model, form, kind):
    found = answers(model, requests([form(content) for content in FILES])[kind])
    expected = truth(PIXELS)
    assert [row["error"] for row in found] == [None] * len(FILES)
    assert [row["prediction"] for row in found] == [CLASSES[i] for i in expected.argmax(1)]
    np.testing.assert_allclose([row["probability"] for row in found], expected.max(1), atol=1e-5)


@pytest.mark.parametrize("kind", list(requests([])))
@pytest.mark.parametrize("bad", list(BAD))
def test_one_bad_row_has_an_error_and_the_others_an_answer(model, bad, kind):
    texts = [standard(FILES[0]), BAD[bad], data_uri(FILES[1])]
    first, second, third = answers(model, requests(texts)[kind])
    expected = truth(PIXELS[:2]).argmax(1).tolist()
    assert [first["prediction_index"], third["prediction_index"]] == expected
    assert first["error"] is third["error"] is None
    reason = {"null": "empty", "empty": "empty"}.get(bad, "not_an_image")
    assert second["error"].startswith(reason)
    assert (second["prediction"], second["prediction_index"], second["probability"]) == (None, None, None)


def test_a_request_of_nothing_but_bad_rows_is_answered(model):
    found = answers(model, {"dataframe_records": [{"image": None}, {}, {"image": 7}]})
    assert [row["error"].split(":")[0] for row in found] == ["empty", "empty", "unsupported"]


def test_lists_of_texts_or_of_rows_are_columns(animals):
    classifier, texts = _load_pyfunc(str(animals.folder)), [standard(content) for content in FILES]
    for data in (texts, [{"image": text} for text in texts]):
        assert classifier.predict(data)["prediction_index"].tolist() == truth(PIXELS).argmax(1).tolist()


def test_a_dictionary_of_texts_is_a_column(model):
    found = model.predict({"image": [standard(content) for content in FILES]})
    assert found["prediction_index"].tolist() == truth(PIXELS).argmax(1).tolist()


def test_text_columns_hold_images_or_paths(tmp_path):
    (tmp_path / "a.png").write_bytes(FILES[0])
    other = standard(b"not an image, but long enough to be one of some kind")
    texts = [str(tmp_path / "a.png"), url_safe(FILES[1]), data_uri(FILES[2]), other, str(tmp_path / "none.png")]
    with Sampler("path", SMALL, SMALL.spec, 2) as sampler:
        samples = sampler.start(pa.array(texts)).wait()
    assert (samples.images[:3] == PIXELS[:3]).all()
    assert sorted(samples.errors) == [3, 4]
    assert "as base64 it is not an image" in samples.errors[3]
    assert samples.errors[4].startswith("unreadable: No such file")


def test_structs_of_bytes_and_path_are_the_bytes_or_the_file(tmp_path):
    (tmp_path / "a.png").write_bytes(FILES[0])
    rows = [{"bytes": FILES[1], "path": "1.png"}, {"bytes": None, "path": str(tmp_path / "a.png")}, None]
    rows += [{"bytes": None, "path": None}, {"bytes": b"", "path": str(tmp_path / "a.png")}]
    column = pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    with Sampler("file", SMALL, SMALL.spec, 2) as sampler:
        samples = sampler.start(column).wait()
    assert (samples.images[:2] == PIXELS[[1, 0]]).all()
    assert {row: reason.split(":")[0] for row, reason in samples.errors.items()} == dict.fromkeys((2, 3, 4), "empty")


@pytest.mark.spark
def test_spark_scores_hugging_faces_structs_and_text_columns(spark):
    large = noise(300, 200, 3, seed=9)  # its file comes to the workers in pieces
    contents = [*FILES, encoded(large)]
    expected = truth(np.concatenate([PIXELS, prepare(contents[-1], SMALL)[None]])).argmax(1).tolist()
    rows = [(i, {"bytes": content, "path": f"{i}.png"}) for i, content in enumerate(contents)]
    table = spark.createDataFrame(rows, "key int, image struct<bytes: binary, path: string>")
    table.createOrReplaceTempView("hugging_face")
    scored = sorted(convoy.score_images(table, package()).collect(), key=lambda row: row["key"])
    assert [row["prediction_index"] for row in scored] == expected
    assert [bytes(row["image"]["bytes"]) for row in scored] == contents
    convoy.register_udf(spark, "classify_files", package())
    found = spark.sql("SELECT key, classify_files(image) AS found FROM hugging_face ORDER BY key").collect()
    assert [row["found"]["prediction_index"] for row in found] == expected
    texts = spark.createDataFrame([(i, data_uri(content)) for i, content in enumerate(contents)], "key int, uri string")
    scored = convoy.score_images(texts, package(), "uri", columns=["key"])
    assert [row["prediction_index"] for row in sorted(scored.collect())] == expected
