"""tools/check_docs.py: what it accepts in a page, and what it reports."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import check_docs  # noqa: E402


def found(page: str) -> list[tuple[int, str]]:
    return list(check_docs.problems(page))


@pytest.mark.parametrize(
    "page",
    [
        "```yaml\ntraining:\n  epochs: 3\n  optimizer: {name: adam}\n```\n",
        '```yaml title="databricks.yml"\nresources: {jobs: {}}\n```\n',
        "```python\nimport convoy\n\nconfig = convoy.load(None)\nfrom convoy.errors import ConfigError\n```\n",
        "```shell\nA=1 python jobs/train.py --config conf/digits.yaml \\\n    --training.epochs 3   # three\n```\n",
        "```shell\nconvoy pipeline --config conf/mine.yaml --from train --until=score\nmake ui PORT=5001\n```\n",
        "```shell\nspark-submit --master local[2] jobs/ingest.py --source.kind digits | tail -1\n```\n",
        '```json\n{"a": 1}\n```\n',
        "* An item\n\n    ```text\n    anything\n    ```\n",
        "See `training.epochs`, `training.optimizer`, `spark.task.cpus`, `make ui` `convoy train --resume <run id>`.\n",
    ],
)
def test_accepts_what_holds(page):
    assert found(page) == []


@pytest.mark.parametrize(
    ("page", "named"),
    [
        ("```yaml\ntraining: {epoch: 3}\n```\n", "epoch"),
        ("```yaml\ntrianing: {epochs: 3}\n```\n", "trianing"),
        ("```yaml\ntraining: {epochs: -1}\n```\n", "training.epochs"),
        ("```python\nimport convoy\nconvoy.trian(config)\n```\n", "trian"),
        ("```python\nfrom convoy.errors import ConfigErr\n```\n", "ConfigErr"),
        ("```python\nimport convoy.wokflows\n```\n", "convoy.wokflows"),
        ("```python\nif True:\npass\n```\n", "compile"),
        ("```shell\nmake dmeo\n```\n", "dmeo"),
        ("```shell\nconvoy trian --config conf/digits.yaml\n```\n", "trian"),
        ("```shell\npython jobs/train.py --training.epoch 3\n```\n", "--training.epoch"),
        ("```shell\npython jobs/train.py --config conf/digit.yaml\n```\n", "conf/digit.yaml"),
        ("```shell\nA=1 spark-submit \\\n  jobs/train.py --epochs 3\n```\n", "--epochs"),
        ('```json\n{"a": 1,}\n```\n', "JSON"),
        ("```\ntext\n```\n", "no language"),
        ("```bash\ntrue\n```\n", "bash"),
        ("Text:\n\n    make demo\n", "indented"),
        ("The field `training.epoch`.\n", "training.epoch"),
        ("Type `make dmeo`.\n", "dmeo"),
    ],
)
def test_reports_what_does_not(page, named):
    ((line, problem),) = found("# Title\n\n" + page)
    assert named in problem
    assert line >= 3


def test_arguments_of_a_jobs_commands_count():
    assert found("```shell\nconvoy runs list --limit 10\n```\n") == []
    assert found("```shell\nconvoy promote --model models:/digits/2\n```\n") == []
    assert found("```shell\nconvoy import-model --model model.h5\n```\n") == []
