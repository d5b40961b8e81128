"""What the scoring benchmark reads, made once under ``work/bench``: tables of images, and networks in two wrappings."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measure import say
from photographs import draw_folder
from training_data import mnist

from convoy.config import ModelConfig
from convoy.dataset.storage import raw
from convoy.images import Geometry
from convoy.models.package import ModelPackage

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
FILES = 4  # of a table: two for each core
CLASSES = [str(i) for i in range(10)]


@dataclass(frozen=True)
class Data:
    """Images to score, and what scores them.

    Attributes:
        table: Folder of Parquet files.
        rows: How many.
        network: Folder with ``network.keras``, ``mlflow`` (an MLflow model of it) and ``mean`` and so on in its name.
        version: The same images as a split of a Convoy dataset, where there is one.
        folder: The same images as files, where they are photographs.
    """

    table: Path
    rows: int
    network: Path
    version: Path | None = None
    folder: Path | None = None


def package(network: Path) -> ModelPackage:
    """The network as Convoy's scorer takes it."""
    import keras

    shape = keras.saving.load_model(network / "network.keras", compile=False).input_shape[1:]
    geometry = Geometry(*shape, "stretch")
    return ModelPackage(
        "models:/benchmark/1", (network / "network.keras").read_bytes(), geometry, geometry.spec, CLASSES, None
    )


def mnist_rows(folder: str, work: Path, count: int, copies: int) -> Data:
    """MNIST's training images, each ``copies`` times: column ``image`` as datasets store it, ``pixels`` as arrays."""
    data = mnist(folder, work, count)
    table = work / f"score-mnist-{count}x{copies}"
    if not table.exists():
        say(f"write {count * copies:,} rows")
        images = np.load(data.arrays / "images.npy")
        draft = _draft(table)
        for number, part in enumerate(np.array_split(images, FILES)):
            flat = part.reshape(len(part), -1)
            offsets = pa.array(np.arange(len(part) + 1, dtype=np.int32) * flat.shape[1])
            pixels = pa.ListArray.from_arrays(offsets, pa.array(flat.ravel().astype(np.int16)))
            rows = pa.table({"image": raw.encode(part), "pixels": pixels})
            with pq.ParquetWriter(
                draft / f"{number}.parquet", rows.schema, compression="none", use_dictionary=False
            ) as file:
                for _ in range(copies):
                    file.write_table(rows, row_group_size=5_000)
        draft.rename(table)
    return Data(table, data.rows * copies, _network(work, "lenet5", (28, 28, 1), decodes=False), data.version)


def jpeg_rows(
    work: Path, count: int, network: str, shape: tuple[int, int, int], height: int = 240, width: int = 320
) -> Data:
    """Photographs of about that size as JPEG bytes, column ``content``."""
    table = work / f"score-jpeg-{count}-{height}x{width}"
    folder = draw_folder(work / f"photographs-{count}-{height}x{width}", count, height, width)
    if not table.exists():
        contents = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
        draft = _draft(table)
        for number in range(FILES):
            part = pa.array(contents[number::FILES], pa.binary())
            pq.write_table(
                pa.table({"content": part}), draft / f"{number}.parquet", compression="none", use_dictionary=False
            )
        draft.rename(table)
    rows = sum(pq.read_metadata(path).num_rows for path in table.glob("*.parquet"))
    return Data(table, rows, _network(work, network, shape, decodes=True), folder=folder)


def large_rows(work: Path, count: int) -> Data:
    """JPEGs of 12 megapixels as bytes."""
    return jpeg_rows(work, count, "mnist_cnn", (32, 32, 3), 3000, 4000)


def _network(work: Path, name: str, shape: tuple[int, int, int], decodes: bool) -> Path:
    """A network with random weights: what it says does not matter, that all contenders compute the same does."""
    folder = work / f"network-{name}-{'x'.join(map(str, shape))}"
    if folder.exists():
        return folder
    import keras
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from convoy.models.builder import build

    keras.utils.set_random_seed(0)
    model = build(ModelConfig(name), shape, len(CLASSES), [127.0] * shape[2], [70.0] * shape[2])
    draft = _draft(folder)
    model.save(draft / "network.keras")
    if decodes:
        here = Path(__file__).parent
        mlflow.pyfunc.save_model(
            str(draft / "mlflow"),
            python_model=str(here / "score_pyfunc.py"),
            artifacts={"network": str(draft / "network.keras")},
            code_paths=[str(here / "score_decode.py")],
            pip_requirements=[],
        )
    else:
        inputs = Schema([TensorSpec(np.dtype(np.uint8), (-1, *shape), "image")])
        outputs = Schema([TensorSpec(np.dtype(np.float32), (-1, len(CLASSES)))])
        (draft / "mlflow").mkdir()
        mlflow.keras.save_model(
            model, str(draft / "mlflow"), signature=ModelSignature(inputs, outputs), pip_requirements=[]
        )
    draft.rename(folder)
    return folder


def _draft(folder: Path) -> Path:
    draft = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    return draft
