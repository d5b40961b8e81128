"""Training beside its peers: reading, epochs of two ranks, scaling, accuracy. See benchmarks/README.md.

python benchmarks/training.py --mnist ~/mnist [--part reader|jpeg|train|scaling|accuracy] [--repetitions 5]
"""

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from contenders import Contender, loopback_only, run_once
from environments import PeerError, environment
from measure import Run, interleaved, ratios, say
from report import circumstances, markdown, publish
from training_accuracy import accuracy_of_epochs
from training_data import Data, mnist, photographs

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "work" / "bench"
PARTS = ("reader", "jpeg", "train", "scaling", "accuracy")
MODELS = {"lenet5": (60_000, 2), "mnist_cnn": (6_000, 3)}  # images and epochs, of which the first is not counted
PACKAGES = ("tensorflow-cpu", "keras", "horovod", "petastorm", "pyspark", "pyarrow", "numpy", "simplejpeg")
TITLE = """## Training

Contenders run in separate processes, one after the other, in rounds (A B C, A B C, ...). Figures are medians over the
rounds; ratios are computed within each round. The start of a process, of Spark and of Horovod, and the first epoch of
each process are excluded."""
READERS = {
    "convoy": "**Convoy**'s reader -> `tf.data`, nothing cached, in a new random order",
    "convoy_memory": "**Convoy**'s reader -> `tf.data`, split kept in memory (`cache: memory`)",
    "petastorm": "`petastorm.make_reader` + `make_petastorm_dataset` + `batch`",
    "tfrecord": "`tf.data` TFRecord, `parse_example` of batches, AUTOTUNE",
    "webdataset": "WebDataset, `WebLoader` with 2 workers (tensors)",
    "streaming": "Mosaic Streaming, `DataLoader` with 2 workers (tensors)",
    "litdata": "LitData, `StreamingDataLoader` with 2 workers (tensors)",
}
TRAINERS = {
    "convoy": "**Convoy**, 2 ranks, from files in every epoch (`cache: none`)",
    "convoy_memory": "**Convoy**, 2 ranks, split kept in memory (`cache: memory`)",
    "recipe": "tutorials' recipe: `horovod.spark.run`, `make_reader`, `fit`, 2 ranks",
    "independent": "two processes, 1 thread each, no communication, arrays in memory",
    "exchange": "the same, but with gradients exchanged over a bare local socket: no Horovod",
    "threads": "one process, 2 threads, `fit` on arrays in memory",
    "mirrored": "`MultiWorkerMirroredStrategy`, 2 workers, arrays in memory (Keras 2)",
}
OURS = {"convoy": "", "convoy_memory": " in memory"}
JPEG = {
    "convoy": "**Convoy**'s reader -> `tf.data`, 2 threads, nothing cached",
    "simplejpeg": "simplejpeg alone on the same bytes in memory, 2 threads",
}

Versions = dict[str, str]


def reader(arguments: argparse.Namespace, versions: Versions) -> str:
    """An epoch from storage into batches."""
    data = mnist(arguments.mnist, WORK, arguments.scaled(60_000))
    caption = (
        f"One epoch of MNIST, {data.rows:,} images of 28x28, is read from local files (in the page cache) into batches"
        " for a plain loop. Each contender reads a dataset in its own format, written beforehand, in a process that is"
        " reused across rounds, after one warm-up epoch. Convoy shuffles samples with a new random order each epoch."
        " Petastorm shuffles row groups. The others read in stored order, which is their fastest mode."
    )
    tables = []
    for batch in (128, 1024):
        say(f"reader: batches of {batch}")
        scripts = {
            "convoy": (sys.executable, "read_convoy.py", data.version, batch, "none", 2),
            "convoy_memory": (sys.executable, "read_convoy.py", data.version, batch, "memory", 2),
            "petastorm": (sys.executable, "read_petastorm.py", data.version, batch),
            "tfrecord": (sys.executable, "read_tfrecord.py", data.arrays, batch),
            **{peer: (peer, f"read_{peer}.py", data.arrays, batch) for peer in ("webdataset", "streaming", "litdata")},
        }
        tables += rounds_table(f"batches of {batch}", scripts, READERS, data.rows, arguments, versions)
    return "### Reading\n\n" + "\n\n".join([caption, *tables])


def jpeg(arguments: argparse.Namespace, versions: Versions) -> str:
    """Convoy's decoding of stored JPEGs beside the bare decoder."""
    data = photographs(WORK, arguments.scaled(4_000))
    caption = (
        f"One epoch of {data.rows:,} photographs, stored as JPEGs of 224x224 (quality 95). Convoy reads Parquet,"
        " decodes, and assembles batches of 128 in a new random order. The decoder alone decodes each image and"
        " discards it."
    )
    scripts = {
        "convoy": (sys.executable, "read_convoy.py", data.version, 128, "none", 2),
        "simplejpeg": (sys.executable, "decode_stored.py", data.version),
    }
    return "### JPEG\n\n" + "\n\n".join(
        [caption, *rounds_table("JPEG 224x224", scripts, JPEG, data.rows, arguments, versions)]
    )


def rounds_table(
    title: str,
    scripts: dict[str, tuple],
    described: dict[str, str],
    rows: int,
    arguments: argparse.Namespace,
    versions: Versions,
    packages: Sequence[str] = PACKAGES,
) -> list[str]:
    """Rounds of contenders that stay; a script is (Python or the peer with an environment, name, arguments ...)."""
    with ExitStack() as stack:
        started: dict[str, Contender] = {}

        def run(name: str) -> float:
            if name not in started:
                python, *script = scripts[name]
                python = environment(python, WORK / "env") if python == name else python
                started[name] = stack.enter_context(Contender(python, *script))
            answer = started[name].ask()
            assert answer["rows"] == rows, f"{name}: {answer['rows']} rows of {rows}"
            versions.update({k: v for k, v in answer["versions"].items() if k not in packages})
            return float(answer["seconds"])

        runs: dict[str, Run] = {name: lambda _, name=name: run(name) for name in scripts if wanted(name, arguments)}
        seconds, remarks = interleaved(runs, arguments.repetitions, WORK / "out", PeerError)
    return [table(title, seconds, described, rows), *remarks]


def train(arguments: argparse.Namespace, versions: Versions) -> str:
    """Whole epochs of two ranks beside other ways to use two cores."""
    caption = (
        "Whole training epochs on MNIST images, including reading, excluding validation. Reading into memory takes"
        " place before the first epoch and is excluded. All contenders train the same network with Adam and a global"
        " batch of 128 images. Ranks, workers and processes use one compute thread each. Two processes that do not"
        " communicate, each with half of the images in memory and a plain `fit`, measure the computation alone. The"
        " same processes with gradients exchanged over a socket measure the cost of any exchange per step on these"
        " cores."
    )
    tables = []
    for model, (images, epochs) in MODELS.items():
        data = mnist(arguments.mnist, WORK, arguments.scaled(images))
        common = (model, epochs)
        scripts = {
            "convoy": ("train_convoy.py", data.version, *common, 2, "none"),
            "convoy_memory": ("train_convoy.py", data.version, *common, 2, "memory"),
            "recipe": ("train_recipe.py", data.version, *common, 2, data.rows),
            "independent": ("train_arrays.py", data.version, data.arrays, *common, 2, 1),
            "exchange": ("train_arrays.py", data.version, data.arrays, *common, 2, 1, "exchange"),
            "threads": ("train_arrays.py", data.version, data.arrays, *common, 1, 2),
            "mirrored": ("train_mirrored.py", data.version, data.arrays, *common, 2),
        }
        tables += training_table(model, scripts, TRAINERS, data, arguments)
    versions["tf-keras"] = "2.18.0 (MultiWorkerMirroredStrategy)"
    return "### Epochs\n\n" + "\n\n".join([caption, *tables])


def scaling(arguments: argparse.Namespace, _: Versions) -> str:
    """Convoy with 1, 2, 4 ... ranks, one core each."""
    caption = (
        "Convoy's training epochs on MNIST images with more ranks, one thread each and a global batch of 128 images,"
        " so that the batch per rank gets smaller."
    )
    counts = [2**i for i in range((os.cpu_count() or 1).bit_length())]
    described = {f"ranks_{n}": f"{n} rank{'s' * (n > 1)}" for n in counts}
    tables = []
    for model, (images, epochs) in MODELS.items():
        data = mnist(arguments.mnist, WORK, arguments.scaled(images))
        scripts = {f"ranks_{n}": ("train_convoy.py", data.version, model, epochs, n, "auto") for n in counts}
        tables += training_table(model, scripts, described, data, arguments)
    return "### More ranks\n\n" + "\n\n".join([caption, *tables])


def training_table(
    model: str, scripts: dict[str, tuple], described: dict[str, str], data: Data, arguments: argparse.Namespace
) -> list[str]:
    """Rounds of contenders that start anew; the first of their epochs is left out."""
    say(f"{model}: {data.rows:,} images an epoch")

    def run(name: str) -> float:
        script, *rest = scripts[name]
        if name == "mirrored" and not loopback_only():
            raise PeerError("MultiWorkerMirroredStrategy would listen on all interfaces (unshare and ip are missing)")
        python = environment(name, WORK / "env") if name == "mirrored" else sys.executable
        return data.rows / statistics.median(run_once(script, *rest, python=python)["rates"][1:])

    runs: dict[str, Run] = {name: lambda _, name=name: run(name) for name in scripts if wanted(name, arguments)}
    seconds, remarks = interleaved(runs, arguments.repetitions, WORK / "out", PeerError, warm_up=False)
    return [table(f"{model}, epochs of {data.rows:,} images", seconds, described, data.rows), *remarks]


def table(title: str, seconds: dict[str, list[float]], described: dict[str, str], rows: int) -> str:
    """Seconds and images per second; how many times as fast each Convoy is, or of Convoys: as the first of them."""
    header, lines = [title, "seconds", "images/s"], []
    ours = {name: f"Convoy{OURS[name]} is times as fast (range)" for name in seconds if name in OURS}
    first = next(iter(seconds))
    header += ours.values() if ours else [f"times as fast as {described[first]} (range)"]
    for name, took in seconds.items():
        median = statistics.median(took)
        pairs = [(seconds[our], took) for our in ours] if ours else [(took, seconds[first])]
        compared = name not in ours and (ours or name != first)
        each = [ratios(*pair) if compared else "" for pair in pairs]
        lines.append([described[name], f"{median:.3f}", f"{rows / median:,.0f}", *each])
    return markdown(header, lines)


def accuracy(arguments: argparse.Namespace, _: Versions) -> str:
    """What mnist_cnn reaches, and when."""
    return accuracy_of_epochs(ROOT, WORK, arguments.mnist, arguments.scale)


def wanted(name: str, arguments: argparse.Namespace) -> bool:
    """Whether a contender takes part; the first of each table always does."""
    return arguments.peers is None or name in (*arguments.peers, "convoy") or name.startswith("ranks_")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", required=True, help="MNIST as PNGs, {train,test}/<digit>/*.png")
    parser.add_argument("--part", choices=PARTS, help="one part only (default: all, one after the other)")
    parser.add_argument("--repetitions", type=int, default=5, help="rounds (default: 5)")
    peers = sorted({*READERS, *TRAINERS, *JPEG} - {"convoy"})
    parser.add_argument("--peers", nargs="*", choices=peers, help="default: all; other than all, nothing is published")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of all numbers of images; other than 1 nothing is published"
    )
    arguments = parser.parse_args()
    arguments.scaled = lambda count: max(600, round(count * arguments.scale))  # every class has some
    WORK.mkdir(parents=True, exist_ok=True)
    measures: tuple[Callable[[argparse.Namespace, Versions], str], ...] = (reader, jpeg, train, scaling, accuracy)
    for number, (part, measure) in enumerate(zip(PARTS, measures, strict=True)):
        if arguments.part not in (None, part):
            continue
        versions: Versions = {}
        text = measure(arguments, versions)
        command = f"python benchmarks/training.py --part {part} --mnist mnist"
        command += f" --repetitions {arguments.repetitions}" if part != "accuracy" else ""  # its run is single
        text += "\n\n" + circumstances(command, PACKAGES, versions)
        print(text + "\n", flush=True)
        if arguments.scale == 1 and arguments.peers is None:
            kept = WORK / "training.json"
            publish(ROOT / "docs" / "benchmarks.md", "bench-train", TITLE, f"{number} {part}", text, kept)


if __name__ == "__main__":
    main()
