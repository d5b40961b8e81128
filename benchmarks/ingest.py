"""Ingest beside its peers: speed, memory and the cost per image. See benchmarks/README.md.

python benchmarks/ingest.py --mnist ~/mnist [--part speed|memory|curve] [--repetitions 5]
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import peer_images
from environments import PeerError, environment, run_peer
from measure import Run, interleaved, peak_rss_mb, ratios, say, timed, watched_children
from peer_spark import binary_file, petastorm_recipe
from photographs import draw_folder
from pyspark.sql import SparkSession
from report import circumstances, markdown, publish

from convoy.cluster.spark import find_java, session
from convoy.config import DatasetConfig, ImageConfig, SourceConfig, SparkConfig
from convoy.dataset.ingest.build import ingest
from convoy.dataset.sources import source_of

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "work" / "bench"
MASTER = "local[2]"
PARTS = ("speed", "memory", "curve")
PEERS = ("petastorm", "binaryfile", "litdata", "streaming")
DESCRIBED = {
    "convoy": "**Convoy** ingest: list, hash, decode, write, check, publish",
    "petastorm": "Petastorm recipe: `materialize_dataset`, OpenCV, `dict_to_spark_row`",
    "binaryfile": "Spark `binaryFile` -> Parquet (copies the files, decodes nothing)",
    "litdata": "LitData `optimize`, 2 workers, OpenCV",
    "streaming": "Mosaic Streaming `MDSWriter`, 2 processes, OpenCV",
}
PACKAGES = ("pyspark", "petastorm", "pyarrow", "numpy", "pillow", "simplejpeg", "opencv-python-headless")
TITLE = """## Ingest

Each row measures the conversion of a folder of image files to a complete dataset of their pixels, in a warm Spark
session with two slots or in two processes. Convoy and the Spark peers run in separate processes; the peers use Spark's
defaults. All read the same files, in rounds (A B C, A B C, ...) after one warm-up each. Seconds are medians over the
rounds; ratios are computed within each round. A peer's imports and the start of its first process are excluded."""


@dataclass(frozen=True)
class Task:
    """A folder ``<path>/<class>/<image>`` to bring to one shape."""

    path: Path
    count: int
    shape: tuple[int, int, int]

    def config(self, root: Path) -> DatasetConfig:
        height, width, channels = self.shape
        return DatasetConfig(root=str(root), image=ImageConfig(height, width, channels, "stretch"))


def convoy_ingest(spark: SparkSession, task: Task, root: Path) -> None:
    """Ingest into a root that does not exist yet."""
    source = source_of(SourceConfig("folder", str(task.path)))
    manifest = ingest(spark, source, task.config(root), lambda *_: None).manifest
    rows = sum(split.rows for split in manifest.splits.values())
    assert rows == task.count, f"{rows} rows of {task.count} images"


def mnist(folder: str | None, count: int) -> Task | None:
    """``count`` images of MNIST as hard links, with repetition where it has fewer; None without a folder of it."""
    if folder is None:
        return None
    linked = WORK / f"mnist-{count}"
    if not linked.exists():
        say(f"link {count:,} images of MNIST")
        given = Path(folder).expanduser().absolute()
        images = peer_images.labelled_paths(str(given / "train" if (given / "train").is_dir() else given))
        draft = linked.with_name(f".{linked.name}-{os.getpid()}")
        for label in {label for _, label in images}:
            (draft / str(label)).mkdir(parents=True)
        for i in range(count):
            path, label = images[i * len(images) // count if count < len(images) else i % len(images)]  # of all classes
            os.link(path, draft / str(label) / f"{i:06d}{Path(path).suffix}")
        draft.rename(linked)
    return Task(linked, count, (28, 28, 1))


def photographs(count: int, height: int, width: int) -> Task:
    """JPEGs of about this size, to be stored as 224x224."""
    folder = WORK / f"photographs-{count}-{height}x{width}"
    if not folder.exists():
        say(f"draw {count:,} photographs of {width}x{height}")
    return Task(draw_folder(folder, count, height, width), count, (224, 224, 3))


class SparkProcess:
    """A process with a Spark session of its own, which stays warm between the rounds: peers get Spark as it comes."""

    def __init__(self, own: bool) -> None:
        self._pool = ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn"), initializer=start_session, initargs=(own,)
        )

    def seconds(self, work: Callable[..., None], *arguments: object) -> float:
        return self._pool.submit(timed_in_session, work, arguments).result()

    def close(self) -> None:
        self._pool.submit(stop_session).result()
        self._pool.shutdown()


_SESSION = ExitStack()


def start_session(own: bool) -> None:
    """Start a session in this process: Convoy's, or one with Spark's defaults."""
    # Petastorm's workers would fill the screen with FutureWarnings.
    quiet = {"spark.executorEnv.PYTHONWARNINGS": "ignore::FutureWarning", "spark.ui.showConsoleProgress": "false"}
    if own:
        spark = _SESSION.enter_context(session("benchmark", SparkConfig(master=MASTER, conf=quiet)))
    else:
        if home := find_java(os.environ):
            os.environ["JAVA_HOME"] = home
        os.environ["PYSPARK_PYTHON"] = sys.executable
        builder = SparkSession.builder.master(MASTER).config("spark.driver.host", "127.0.0.1")
        spark = builder.config(map=quiet).getOrCreate()
        _SESSION.callback(spark.stop)
    spark.sparkContext.addPyFile(peer_images.__file__)  # the workers of the Petastorm recipe need it


def stop_session() -> None:
    _SESSION.close()


def timed_in_session(work: Callable[..., None], arguments: tuple[object, ...]) -> float:
    spark = SparkSession.getActiveSession()
    started = time.perf_counter()
    work(spark, *arguments)
    return time.perf_counter() - started


def contenders(
    processes: dict[str, SparkProcess], task: Task, names: list[str], versions: dict[str, str]
) -> dict[str, Run]:
    """Ours, and those of the peers that are named."""
    folder = str(task.path)
    runs: dict[str, Run] = {"convoy": lambda output: processes["convoy"].seconds(convoy_ingest, task, output)}
    if "petastorm" in names:
        runs["petastorm"] = lambda output: processes["peers"].seconds(petastorm_recipe, folder, task.shape, output)
    if "binaryfile" in names:
        runs["binaryfile"] = lambda output: processes["peers"].seconds(binary_file, folder, output)
    for peer in ("litdata", "streaming"):
        if peer in names:
            runs[peer] = other_process(peer, task, versions)
    return runs


def other_process(peer: str, task: Task, versions: dict[str, str]) -> Run:
    """A peer in an environment of its own, which times itself."""

    def run(output: Path) -> float:
        python = environment(peer, WORK / "env")
        done = run_peer(peer, python, str(task.path), task.shape, output)
        assert done["rows"] == task.count, f"{peer}: {done['rows']} rows of {task.count} images"
        versions.update(done["versions"])
        return float(done["seconds"])

    return run


def speed(arguments: argparse.Namespace, versions: dict[str, str]) -> str:
    """Ours beside the peers, on small PNGs and on photographs."""
    tasks = [
        (
            "{} MNIST PNGs of 28x28 to raw",
            mnist(arguments.mnist, arguments.scaled(60_000)),
            ["petastorm", "binaryfile"],
        ),
        (
            "{} JPEGs of about 533x400 to raw 224x224",
            photographs(arguments.scaled(2_000), 400, 533),
            ["petastorm", "litdata", "streaming"],
        ),
    ]
    tables = []
    processes = {"convoy": SparkProcess(own=True), "peers": SparkProcess(own=False)}
    try:
        for title, task, peers in tasks:
            if task is None:
                continue
            title = title.format(f"{task.count:,}")
            say(title)
            runs = contenders(processes, task, [peer for peer in peers if peer in arguments.peers], versions)
            seconds, remarks = interleaved(runs, arguments.repetitions, WORK / "out", PeerError)
            rows = []
            for name, took in seconds.items():
                median = statistics.median(took)
                ratio = ratios(seconds["convoy"], took) if name != "convoy" else ""
                rows.append([DESCRIBED[name], f"{median:.2f}", f"{task.count / median:,.0f}", ratio])
            header = [title, "seconds", "images/s", "Convoy is times as fast (range)"]
            tables += [markdown(header, rows), *remarks]
    finally:
        for process in processes.values():
            process.close()
    return "### Speed\n\n" + "\n\n".join(tables)


def memory(arguments: argparse.Namespace, _: dict[str, str]) -> str:
    """Peak memory of Python workers with large images, and of the driver with few and many rows."""
    tasks = {"JPEGs of 4000x3000 to raw 224x224": photographs(arguments.scaled(200), 3000, 4000)}
    for count in (10_000, 100_000):
        if task := mnist(arguments.mnist, arguments.scaled(count)):
            tasks[f"MNIST PNGs, {task.count:,} rows"] = task
    rows = []
    for title, task in tasks.items():
        say(f"memory: {task.count:,} {title}")
        # Each in a process of its own: a peak is never forgotten.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            peaks = pool.submit(peaks_of_ingest, task).result()
        rows.append([f"{task.count:,} {title.partition(',')[0]}", *(f"{peak:,.0f}" for peak in peaks)])
    header = ["peak resident memory, MiB", "largest Python worker", "driver (Python)", "JVM"]
    note = "With a local master, the JVM contains Spark's driver and executors. Its heap grows up to its limit (1 GiB)."
    return f"### Memory\n\n{markdown(header, rows)}\n\n{note}"


def peaks_of_ingest(task: Task) -> tuple[float, float, float]:
    """Peak memory (MiB) of the largest Python worker, of this process and of its JVM."""
    with session("benchmark", SparkConfig(master=MASTER)) as spark:
        jvm = spark.sparkContext._gateway.proc.pid
        with watched_children(jvm) as workers:
            timed(lambda output: convoy_ingest(spark, task, output), WORK / "out")
        driver, java = peak_rss_mb(os.getpid()), peak_rss_mb(jvm)
        assert workers, f"no Python worker was seen below the JVM's process {jvm}"
        assert driver is not None
        assert java is not None
        return max(workers.values()), driver, java


def curve(arguments: argparse.Namespace, _: dict[str, str]) -> str:
    """Cost per image as their number grows."""
    sizes = (10_000, 50_000, 100_000, 200_000)
    tasks = {task.count: task for size in sizes if (task := mnist(arguments.mnist, arguments.scaled(size)))}
    if not tasks:
        return ""
    with session("benchmark", SparkConfig(master=MASTER)) as spark:
        runs: dict[str, Run] = {
            str(count): lambda output, task=task: convoy_ingest(spark, task, output) for count, task in tasks.items()
        }
        seconds, _ = interleaved(runs, arguments.repetitions, WORK / "out", PeerError)
    rows, before = [], None
    for count, took in ((int(name), statistics.median(each)) for name, each in seconds.items()):
        further = f"{1e6 * (took - before[1]) / (count - before[0]):,.0f}" if before else ""
        rows.append([f"{count:,}", f"{took:.2f}", f"{count / took:,.0f}", f"{1e6 * took / count:,.0f}", further])
        before = (count, took)
    header = ["images (MNIST PNGs to raw)", "seconds", "images/s", "µs per image", "µs per further image"]
    return f"### Cost per image\n\n{markdown(header, rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", help="MNIST as PNGs, [train/]<digit>/*.png; without it no part measures on it")
    parser.add_argument("--part", choices=PARTS, help="one part only (default: all, one after the other)")
    parser.add_argument("--repetitions", type=int, default=5, help="rounds, after one warm-up (default: 5)")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS), help="default: all")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of all numbers of images; other than 1 nothing is published"
    )
    arguments = parser.parse_args()
    arguments.scaled = lambda count: max(20, round(count * arguments.scale))  # every class has some
    if not arguments.mnist:
        say("--mnist is not given: what is measured on MNIST is left out")
    WORK.mkdir(parents=True, exist_ok=True)
    for number, (part, measure) in enumerate(zip(PARTS, (speed, memory, curve), strict=True)):
        if arguments.part not in (None, part):
            continue
        versions: dict[str, str] = {}
        text = measure(arguments, versions)
        if not text:
            continue
        command = f"python benchmarks/ingest.py --part {part}" + (" --mnist mnist" if arguments.mnist else "")
        command += f" --repetitions {arguments.repetitions}" if part != "memory" else ""  # its runs are single
        text += "\n\n" + circumstances(command, PACKAGES, {k: v for k, v in versions.items() if k not in PACKAGES})
        print(text + "\n", flush=True)
        if arguments.scale == 1:
            kept = WORK / "ingest.json"
            publish(ROOT / "docs" / "benchmarks.md", "bench-ingest", TITLE, f"{number} {part}", text, kept)


if __name__ == "__main__":
    main()
