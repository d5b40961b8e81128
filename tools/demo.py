"""The whole main job on real images: ingest -> train on two Horovod ranks -> evaluate -> score, in ./work."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from convoy.console import say, table

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "conf/digits.yaml"


def run_job(name: str) -> dict[str, Any]:
    """Run a job as a user would; returns its JSON line."""
    command = [f"jobs/{name}.py", "--config", CONFIG]
    say(f"\n$ python {' '.join(command)}")
    done = subprocess.run([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(done.returncode)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Run the four jobs and print what came out of them."""
    started = time.monotonic()
    ingest, train, evaluate, score = (run_job(name) for name in ("ingest", "train", "evaluate", "score"))
    rows = [
        ["dataset", f"{ingest['dataset']} {ingest['version']}: {sum(ingest['rows'].values()):,} images"],
        ["training", f"{train['epochs']} epochs on 2 Horovod ranks, validation accuracy {train['val_accuracy']:.2%}"],
        ["test accuracy", f"{evaluate['accuracy']:.2%} of {evaluate['rows']:,} images"],
        ["model", score["model"]],
        ["run", train["run_id"]],
        ["scores", f"{score['rows']:,} rows in {Path(score['output']).relative_to(ROOT)} (Parquet)"],
        ["time", f"{time.monotonic() - started:.0f} s"],
    ]
    say("\n" + table(rows))
    say(
        "\nNext:\n"
        "  make ui                                     the run, its metrics and pictures, in the browser\n"
        "  .venv/bin/python jobs/train.py --help       every field of the configuration\n"
        "  .venv/bin/python jobs/ingest.py --config conf/mnist.yaml --source.path <folder of images>\n"
    )


if __name__ == "__main__":
    main()
