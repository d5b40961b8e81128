"""Console script: ``convoy <job> [arguments]`` runs the same code as ``python jobs/<job>.py``."""

import importlib
import sys

from convoy.console import say
from convoy.errors import did_you_mean

JOBS = {
    "pipeline": "ingest, train, evaluate and score in one process",
    "ingest": "images -> a versioned Petastorm dataset",
    "train": "a dataset -> an MLflow run and a registered model version",
    "experiment": "variants of a training, side by side -> a parent run with a chart",
    "tune": "trials of a training in a space of its fields -> a parent run, the best model",
    "evaluate": "a model on a split of the dataset -> metrics and pictures in its run",
    "import-model": "a Keras model of another program -> a registered model version",
    "promote": "a version of a registered model -> the champion",
    "rollback": "the previous version -> the champion again",
    "score": "images -> the same rows with predictions",
    "describe": "a network's layers: volumes, weights, multiply-adds, receptive fields, memory; and a picture",
    "datasets": "list, show, diff and verify versions of datasets",
    "runs": "list, show, diff and compare runs, and tell the best",
    "reproduce": "a run -> a new run, trained from its record, and whether the weights are the same",
    "doctor": "would a job run here? Versions, Horovod, Spark and its executors, folders, the tracking store",
}


def main() -> int:
    """Dispatch to a job; returns the exit status."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: convoy <job> --config FILE [--section.field value ...]")
        print("       convoy datasets list|show|diff|verify [--root FOLDER] [--name NAME] ...")
        print("       convoy runs list|show|diff|compare|best [--config FILE] [--uri URI] ...\n\njobs:")
        for name, text in JOBS.items():
            print(f"  {name:<12} {text}")
        print("\n`convoy <job> --help` documents every field; `convoy datasets <command> --help` every argument.")
        return 0
    name, *rest = arguments
    if name not in JOBS:
        say(f"error: unknown job {name!r}; expected one of {', '.join(JOBS)}{did_you_mean(name, JOBS)}")
        return 2
    job = importlib.import_module(f"convoy.jobs.{name.replace('-', '_')}")
    return int(job.main(rest))


if __name__ == "__main__":
    sys.exit(main())
