"""Run the pipeline on real images: ingest -> train on two Horovod ranks -> evaluate -> score, in ./work."""

import json
import subprocess
import sys
import time
from pathlib import Path

from convoy.console import Table, say

ROOT = Path(__file__).resolve().parent.parent
COMMAND = ["jobs/pipeline.py", "--config", "conf/digits.yaml"]


def main() -> None:
    """Run the pipeline as a user would, and print a summary of its JSON lines."""
    started = time.monotonic()
    say(f"$ python {' '.join(COMMAND)}")
    done = subprocess.run([sys.executable, *COMMAND], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(done.returncode)
    ingest, train, evaluate, score = (json.loads(line) for line in done.stdout.splitlines()[-4:])
    rows = [
        ["dataset", f"{ingest['dataset']} {ingest['version']}: {sum(ingest['rows'].values()):,} images"],
        ["training", f"{train['epochs']} epochs on 2 Horovod ranks, validation accuracy {train['val_accuracy']:.2%}"],
        ["test accuracy", f"{evaluate['accuracy']:.2%} of {evaluate['rows']:,} images"],
        ["model", score["model"]],
        ["run", train["run_id"]],
        ["scores", f"{score['rows']:,} rows in {Path(score['output']).relative_to(ROOT)} (Parquet)"],
        ["time", f"{time.monotonic() - started:.0f} s"],
    ]
    say("", Table(rows))
    say(
        "\nNext:\n"
        "  make ui                                     the run, its metrics and figures, in the browser\n"
        "  .venv/bin/python jobs/train.py --help       every field of the configuration\n"
        "  .venv/bin/python jobs/ingest.py --config conf/mnist.yaml --source.path <folder of images>\n"
    )


if __name__ == "__main__":
    main()
