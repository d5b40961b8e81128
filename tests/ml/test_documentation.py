"""The code on the page ``docs/spark-ml.md``, run from top to bottom."""

import re
from pathlib import Path

import pytest
from sklearn.datasets import load_digits

from tests.spark_support import encoded

pytestmark = [pytest.mark.spark, pytest.mark.train, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "spark-ml.md").read_text(), re.MULTILINE | re.DOTALL)


def test_each_block_runs(spark, tmp_path, capsys):
    assert len(BLOCKS) >= 6
    digits = load_digits(n_class=4)
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=False)):
        folder = tmp_path / "images" / f"digit-{label}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(encoded((image * 15).astype("uint8")))
    names: dict = {}
    for number, block in enumerate(BLOCKS):
        # The folder that the JVM works in is another.
        there = re.sub(r'(["/])(images|work/)', rf"\1{tmp_path}/\2", block)
        exec(compile(there, f"docs/spark-ml.md, block {number}", "exec"), names)
    assert names["model"].getModelUri() == "models:/digits/1"
    assert len(names["model"].summary.history) <= 8
    assert names["evaluator"].evaluate(names["fitted"].transform(names["test"])) > 0.9
    assert names["best"].bestModel.getLearningRate() == 0.002
    out = names["features"].transform(names["test"])
    assert names["MulticlassClassificationEvaluator"](labelCol="index", metricName="accuracy").evaluate(out) > 0.9
    assert "|digit-" in capsys.readouterr().out
