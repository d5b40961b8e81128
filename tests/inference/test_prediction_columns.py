"""The network's numbers as columns."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from convoy.inference.prediction_columns import Outputs, result_columns
from convoy.models.package import ModelPackage

PACKAGE = ModelPackage("models:/m/1", b"", None, None, ["a", "b", "c"], None)  # type: ignore[arg-type]
ALL = Outputs(top_k=2, probabilities=True, embeddings=True)


@given(st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 3), max_size=8), st.sets(st.integers(0, 7)))
def test_every_column_says_the_same_of_every_row(rows, bad):
    probabilities = np.array(rows, np.float32).reshape(-1, 3)
    errors = {row: f"reason {row}" for row in bad if row < len(rows)}
    columns = result_columns(probabilities, probabilities[:, :2], errors, PACKAGE, ALL)
    assert list(columns) == [field.name for field in ALL.fields]
    for row, of_row in enumerate(probabilities):
        said = {name: column[row].as_py() for name, column in columns.items()}
        assert said.pop("model_version") == "models:/m/1"
        assert said.pop("error") == errors.get(row)
        if row in errors:
            assert set(said.values()) == {None}
            continue
        best = int(of_row.argmax())
        assert (said["prediction"], said["prediction_index"]) == ("abc"[best], best)
        assert said["probability"] == of_row[best]
        assert said["probabilities"] == of_row.tolist()
        assert said["embedding"] == of_row[:2].tolist()
        first, second = said["top_k"]
        assert first == {"prediction": "abc"[best], "prediction_index": best, "probability": of_row[best]}
        assert first["probability"] >= second["probability"] >= min(of_row)
        assert first["prediction_index"] != second["prediction_index"]


def test_a_network_that_gives_nan_has_not_classified():
    probabilities = np.array([[0.1, np.nan, 0.2], [0.1, 0.2, 0.7]], np.float32)
    columns = result_columns(probabilities, np.empty((2, 0)), {}, PACKAGE, Outputs())
    assert columns["error"].to_pylist() == ["not_finite: the network returns nan for it", None]
    assert columns["prediction"].to_pylist() == [None, "c"]
