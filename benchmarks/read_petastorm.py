"""``make_reader`` and ``make_petastorm_dataset``, as the tutorials read: read_petastorm.py VERSION BATCH."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from epochs import serve

warnings.simplefilter("ignore")

from petastorm import make_reader  # noqa: E402
from petastorm.tf_utils import make_petastorm_dataset  # noqa: E402


def prepare(version: str, batch: str) -> Callable[[], int]:
    url = (Path(version) / "train").as_uri()

    def epoch() -> int:
        rows = 0
        with make_reader(url, schema_fields=["image", "label"], num_epochs=1) as reader:
            dataset = make_petastorm_dataset(reader).map(lambda row: (row.image, row.label))
            for _, labels in dataset.batch(int(batch)):
                rows += len(labels)
        return rows

    return epoch


if __name__ == "__main__":
    serve(lambda: prepare(*sys.argv[1:]), ["petastorm", "tensorflow-cpu"])
