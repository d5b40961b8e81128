"""Scoring beside its peers: MNIST rows, JPEG bytes, the decoder's limit, memory. See benchmarks/README.md.

python benchmarks/score.py --mnist ~/mnist [--part rows|jpeg|memory|decoding] [--repetitions 5]
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from contenders import run_once
from measure import say
from report import circumstances, markdown, publish
from score_data import Data, jpeg_rows, large_rows, mnist_rows
from training import rounds_table

from convoy.models.architectures.table import ARCHITECTURES

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "work" / "bench"
PACKAGES = ("tensorflow-cpu", "keras", "mlflow", "pyspark", "pyarrow", "numpy", "simplejpeg", "opencv-python-headless")
COPIES = 2  # of MNIST, so that Convoy works for a second at least
TITLE = """## Scoring

Contenders run in separate processes, one after the other, in rounds (A B C, A B C, ...) after one warm-up round.
Figures are medians over the rounds; ratios are computed within each round. The start of Spark and the loading of
networks are excluded: each timed Spark run follows an untimed one, since Spark ends Python workers after a minute
without work. All contenders have the same images and weights, and two slots, actors or processes. Spark's result is
discarded (`noop`)."""
SCORERS = {
    "convoy": "**Convoy** `score_images`, image bytes",
    "convoy_pixels": "**Convoy** `score_images`, arrays (`array<smallint>`)",
    "convoy_split": "**Convoy** `dataset:train`, a split of a dataset",
    "spark_udf": "`mlflow.pyfunc.spark_udf`",
    "predict_batch_udf": "`predict_batch_udf`, `model.predict`",
    "ray": "Ray Data `map_batches`, 2 actors, `predict_on_batch`",
    "bare": "bare loop in two processes, `tf.function`, data in memory",
    "convoy_bytes": "**Convoy** `score_images`, image bytes",
    "decoder": "simplejpeg alone at the same scale in two processes, data in memory",
}

_PATHS = "**Convoy** `score_images`, paths: the workers read the files, as `jobs/score.py` does with a folder"

Versions = dict[str, str]


def rows(arguments: argparse.Namespace, versions: Versions) -> str:
    """LeNet-5 on MNIST."""
    data = mnist_rows(arguments.mnist, WORK, arguments.scaled(60_000), COPIES)
    network = data.network
    scripts = {
        "convoy": (sys.executable, "score_spark.py", "convoy", data.table, network, "image"),
        "convoy_pixels": (sys.executable, "score_spark.py", "convoy", data.table, network, "pixels"),
        "convoy_split": (sys.executable, "score_spark.py", "convoy_split", data.version, network, "train", COPIES),
        "spark_udf": (sys.executable, "score_spark.py", "spark_udf", data.table, network, "pixels"),
        "predict_batch_udf": (sys.executable, "score_spark.py", "predict_batch_udf", data.table, network, "pixels"),
        "ray": ("ray", "score_ray.py", data.table, network, "pixels"),
        "bare": (sys.executable, "score_bare.py", data.table, network, "pixels"),
    }
    caption = (
        f"LeNet-5 on {data.rows:,} rows of MNIST in four Parquet files of unscaled pixels. Convoy reads the format of"
        " its datasets (a binary column) or arrays. Its peers read arrays, as in their documentation."
    )
    found = compared("LeNet-5, MNIST rows", scripts, data, arguments, versions)
    return "### Rows\n\n" + "\n\n".join([caption, *found])


def jpeg(arguments: argparse.Namespace, versions: Versions) -> str:
    """A convolutional network on JPEG bytes."""
    name = "resnet20" if "resnet20" in ARCHITECTURES else "mnist_cnn"
    data = jpeg_rows(WORK, arguments.scaled(6_000), name, (32, 32, 3))
    scripts = {
        "convoy": (sys.executable, "score_spark.py", "convoy", data.table, data.network, "content"),
        **{
            peer: (sys.executable, "score_spark.py", peer, data.table, data.network, "content")
            for peer in ("spark_udf", "predict_batch_udf")
        },
        "ray": ("ray", "score_ray.py", data.table, data.network, "content"),
        "bare": (sys.executable, "score_bare.py", data.table, data.network, "content"),
    }
    caption = (
        f"`{name}` on {data.rows:,} JPEGs of about 320x240, resized to 32x32 (column of bytes). Peers decode with"
        " OpenCV and resize without antialiasing, in a pyfunc model, in the UDF or in the actor, and so does the bare"
        " loop."
    )
    return "### JPEG\n\n" + "\n\n".join([caption, *compared(f"{name}, JPEG", scripts, data, arguments, versions)])


def decoding(arguments: argparse.Namespace, versions: Versions) -> str:
    """A small network on JPEGs that are large beside it, and the decoder with nothing behind it."""
    tables = []
    for count, height, width in ((4_000, 400, 533), (500, 1200, 1600)):
        data = jpeg_rows(WORK, arguments.scaled(count, least=100), "lenet5", (32, 32, 3), height, width)
        scripts = {
            "convoy": (sys.executable, "score_spark.py", "convoy_paths", data.folder, data.network, "path"),
            "convoy_bytes": (sys.executable, "score_spark.py", "convoy", data.table, data.network, "content"),
            "decoder": (sys.executable, "score_decoder.py", data.table, 32, 32),
        }
        tables += compared(f"JPEGs of {width}x{height}", scripts, data, arguments, versions, first=_PATHS)
    caption = (
        "LeNet-5 on JPEGs resized to 32x32, a task that is dominated by decoding. Convoy decodes at one eighth of the"
        " size. The decoder alone does the same and discards the pixels."
    )
    return "### Decoder limit\n\n" + "\n\n".join([caption, *tables])


def memory(arguments: argparse.Namespace, _: Versions) -> str:
    """Large images, and many rows."""
    large = large_rows(WORK, arguments.scaled(200, least=16))
    many = mnist_rows(arguments.mnist, WORK, arguments.scaled(60_000), COPIES)
    copies = max(1, round(arguments.scaled(1_000_000) / many.rows))
    cases = (
        (f"{large.rows:,} JPEGs of 4000x3000", large, "content", 1),
        (f"{many.rows * copies:,} MNIST rows", many, "image", copies),
    )
    lines = []
    for title, data, column, times in cases:
        say(f"memory: {title}")
        answer = run_once("score_memory.py", data.table, data.network, column, times)
        lines.append([title, *(f"{answer[name]:,.0f}" for name in ("worker", "driver", "jvm"))])
    fifths = ", ".join(f"{rate:,.0f}" for rate in answer["rates"])
    peaks = markdown(["peak resident memory, MiB", "largest Python worker", "driver (Python)", "JVM"], lines)
    note = f"The MNIST rows, one job, were scored at {fifths} images/s in successive fifths of the job."
    return f"### Memory\n\n{peaks}\n\n{note}"


def compared(
    title: str,
    scripts: dict[str, tuple],
    data: Data,
    arguments: argparse.Namespace,
    versions: Versions,
    first: str = SCORERS["convoy"],
) -> list[str]:
    """Rounds of contenders that stay; ``first`` says what Convoy does."""
    say(f"{title}: {data.rows:,} rows")
    return rounds_table(title, scripts, SCORERS | {"convoy": first}, data.rows, arguments, versions, PACKAGES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", required=True, help="MNIST as PNGs, {train,test}/<digit>/*.png")
    parser.add_argument("--part", choices=PARTS, help="one part only (default: all, one after the other)")
    parser.add_argument("--repetitions", type=int, default=5, help="rounds (default: 5)")
    peers = sorted(set(SCORERS) - {"convoy"})
    parser.add_argument("--peers", nargs="*", choices=peers, help="default: all; other than all, nothing is published")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of all numbers of images; other than 1 nothing is published"
    )
    arguments = parser.parse_args()
    arguments.scaled = lambda count, least=600: max(least, round(count * arguments.scale))
    WORK.mkdir(parents=True, exist_ok=True)
    for number, (part, measure) in enumerate(PARTS.items()):
        if arguments.part not in (None, part):
            continue
        versions: Versions = {}
        text = measure(arguments, versions)
        command = f"python benchmarks/score.py --part {part} --mnist mnist"
        command += f" --repetitions {arguments.repetitions}" if part != "memory" else ""  # its run is single
        text += "\n\n" + circumstances(command, PACKAGES, versions)
        print(text + "\n", flush=True)
        if arguments.scale == 1 and arguments.peers is None:
            document = ROOT / "docs" / "benchmarks.md"
            publish(document, "bench-score", TITLE, f"{number} {part}", text, WORK / "score.json")


PARTS: dict[str, Callable[[argparse.Namespace, Versions], str]] = {
    "rows": rows,
    "jpeg": jpeg,
    "memory": memory,
    "decoding": decoding,
}


if __name__ == "__main__":
    main()
