"""Petastorm on current PyArrow, NumPy, pandas and Python.

Petastorm 0.12 and 0.13 were written for PyArrow below 15 and NumPy 1. This module loads their modules with a separate
``import`` function, which returns views of ``pyarrow``, ``numpy`` and a few more modules: the real ones, plus the names
that Petastorm needs and that have been removed. No other module of the process sees these names. With PyArrow 14
nothing is installed.

A process loads Petastorm this way once it has imported ``convoy.dataset.petastorm``. Processes that may import
Petastorm first have a file ``petastorm.py`` on their path before the installed package, which does that: Spark's Python
workers, where objects of Petastorm are unpickled, and the processes of ``reader_pool_type="process"``.
"""

import ast
import builtins
import functools
import importlib
import os
import pickle
import pickletools
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from convoy.cluster.scratch import scratch_folder

NEEDED = not hasattr(pq, "ParquetDatasetPiece") or not hasattr(np, "unicode_")
"""Whether the installed PyArrow or NumPy lacks what Petastorm needs."""

_STAND_IN = """\
from convoy.dataset.petastorm import compat

compat.replace_stand_in()
"""
_TO_PANDAS = "__convoy_to_pandas__"
_OLD_NUMPY_NAMES: dict[str, type] = {"unicode_": np.str_, "string_": np.bytes_, "float": float}


class View:
    """A module as Petastorm sees it: the names of the real module and some additional ones.

    Args:
        module: The real module; None if it no longer exists.
        path: Its name, by which it is found when it is unpickled.
        names: The additional names.
    """

    def __init__(self, module: ModuleType | None, path: str, names: dict[str, Any]) -> None:
        self.__dict__.update(names)
        self._module, self._path = module, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __reduce__(self) -> tuple[Callable[[str], "View"], tuple[str]]:
        return view, (self._path,)


def view(name: str) -> View:
    """Return the view of a module by its name."""
    return _views()[name]


@functools.cache
def _views() -> dict[str, View]:
    from fsspec.implementations.local import LocalFileSystem
    from packaging.version import parse

    from convoy.dataset.petastorm import old_pyarrow

    parquet = View(
        pq,
        "pyarrow.parquet",
        {"ParquetDataset": old_pyarrow.ParquetDataset, "ParquetDatasetPiece": old_pyarrow.ParquetDatasetPiece},
    )
    # From pandas 3 on, strings become Arrow's large_string.
    types = View(pa.types, "pyarrow.types", {"is_string": _is_string})
    filesystem = View(None, "pyarrow.filesystem", {"LocalFileSystem": LocalFileSystem})
    hdfs = View(
        None, "pyarrow.hdfs", {"HadoopFileSystem": old_pyarrow.HadoopFileSystem, "connect": old_pyarrow.connect_to_hdfs}
    )
    arrow = View(
        pa,
        "pyarrow",
        {
            "LocalFileSystem": LocalFileSystem,
            "filesystem": filesystem,
            "hdfs": hdfs,
            "localfs": LocalFileSystem(),
            "parquet": parquet,
            "types": types,
        },
    )
    numpy = View(np, "numpy", _OLD_NUMPY_NAMES)
    pickling = View(pickle, "six.moves.cPickle", {"Unpickler": _Unpickler, "dumps": portable_dumps})
    distutils = View(None, "distutils.version", {"LooseVersion": parse})
    images = [View(cv2, "cv2", {"imencode": _imencode})] if (cv2 := _importable("cv2")) else []
    processes = View(subprocess, "subprocess", {"Popen": _popen})
    six_moves = View(importlib.import_module("six.moves"), "six.moves", {"cPickle": pickling})
    views = [arrow, parquet, types, filesystem, hdfs, numpy, pickling, six_moves, distutils, processes, *images]
    return {each._path: each for each in views}


def _import(
    name: str,
    globals: dict[str, Any] | None = None,
    locals: dict[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    """Import like ``__import__``, but with the views, for Petastorm's modules."""
    found = _views().get(name if fromlist else name.partition(".")[0])
    if found is None or level:
        return builtins.__import__(name, globals, locals, fromlist or (), level)
    if not fromlist and name not in _views():
        builtins.__import__(name)  # a submodule, e.g. numpy.random
    return found


def _importable(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _imencode(extension: str, image: np.ndarray, options: Sequence[int] = ()) -> Any:
    """Encode an image; pass the JPEG quality only for JPEG, since OpenCV 5 warns of options that it ignores."""
    import cv2

    return cv2.imencode(extension, image, options if extension in (".jpg", ".jpeg") else ())


def _is_string(kind: pa.DataType) -> bool:
    view = hasattr(pa.types, "is_string_view") and pa.types.is_string_view(kind)  # PyArrow 16 and later
    return view or pa.types.is_string(kind) or pa.types.is_large_string(kind)


def portable_dumps(value: Any, protocol: int | None = None) -> bytes:
    """Pickle like ``pickle.dumps``, but so that NumPy 1, which has no ``numpy._core``, can load the result."""
    pickled = pickle.dumps(value, protocol)
    if b"numpy._core" not in pickled:
        return pickled
    # Protocol 3 writes the full name of a module at each use, without its length.
    pickled = pickle.dumps(value, 3)
    parts, done = [], 0
    for opcode, argument, at in pickletools.genops(pickled):
        if opcode.name == "GLOBAL" and isinstance(argument, str) and argument.startswith("numpy._core"):
            assert at is not None
            parts += [pickled[done:at], b"cnumpy.core"]
            done = at + len(b"cnumpy._core")
    return b"".join([*parts, pickled[done:]])


class _Unpickler(pickle.Unpickler):
    """Loads schemas that were written with older versions of NumPy (by Python 2) and of Spark."""

    def load(self) -> Any:
        loaded = super().load()
        for field in getattr(loaded, "_fields", {}).values():
            kind: Any = getattr(field.codec, "_spark_type", None)
            if type(kind).__name__ == "StringType" and not hasattr(kind, "collation"):
                field.codec._spark_type = type(kind)()  # Spark 4 adds an attribute that Spark 3 did not write
        return loaded

    def find_class(self, module: str, name: str) -> Any:
        if module == "numpy" and name in _OLD_NUMPY_NAMES:
            return _OLD_NUMPY_NAMES[name]
        return super().find_class(module, name)


def _to_pandas(data: Any, **options: Any) -> Any:
    """Convert a table, column or array to pandas with strings as objects and None for null, as in pandas 2."""
    import pandas as pd

    converted = data.to_pandas(**options)
    if isinstance(data, pa.Table):
        for name in data.column_names:
            if _is_string(data.schema.field(name).type) and converted[name].dtype != object:
                converted[name] = pd.Series(data.column(name).to_numpy(), converted.index, object)
    elif _is_string(data.type) and converted.dtype != object:
        values = data.to_numpy() if isinstance(data, pa.ChunkedArray) else data.to_numpy(zero_copy_only=False)
        converted = pd.Series(values, converted.index, object)
    return converted


class _ToPandas(ast.NodeTransformer):
    """Rewrites ``data.to_pandas(...)`` to ``_to_pandas(data, ...)``: methods of Arrow's types cannot be replaced."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "to_pandas":
            name = ast.copy_location(ast.Name(_TO_PANDAS, ast.Load()), node)
            return ast.copy_location(ast.Call(name, [node.func.value, *node.args], node.keywords), node)
        return node


_BUILTINS = {**vars(builtins), "__import__": _import, _TO_PANDAS: _to_pandas}


class _Loader(SourceFileLoader):
    """Loads a module of Petastorm with the views."""

    def get_code(self, fullname: str) -> CodeType | None:
        source = self.get_data(self.path)
        if b".to_pandas(" not in source:
            return super().get_code(fullname)
        # Do not use the bytecode cache: it belongs to the unmodified file.
        tree = ast.fix_missing_locations(_ToPandas().visit(ast.parse(source)))
        return compile(tree, self.path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = _BUILTINS
        super().exec_module(module)
        if module.__name__ == "petastorm.etl.dataset_metadata":
            _prepare_spark_on_write(module)
        elif module.__name__ == "petastorm.workers_pool.thread_pool":
            _look_for_the_end_first(module)


class _Finder(MetaPathFinder):
    """Finds Petastorm's modules, and no others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "petastorm":
            specs = (PathFinder.find_spec(fullname, [entry]) for entry in sys.path)
            found = next((spec for spec in specs if spec and spec.loader and spec.submodule_search_locations), None)
        elif fullname.startswith("petastorm."):
            found = PathFinder.find_spec(fullname, path)
        else:
            return None
        if found is not None and NEEDED and isinstance(found.loader, SourceFileLoader):
            loader: Loader = _Loader(found.loader.name, found.loader.path)
            found.loader = loader
        return found


_FINDER = _Finder()


def install() -> None:
    """Make Petastorm importable in this process; do nothing if the installed versions already work with it."""
    if NEEDED:
        _install()


def _install() -> None:
    if _FINDER in sys.meta_path:
        return
    if "petastorm" not in sys.modules:
        # A failed import has left modules behind that lack the names they need.
        for name in [name for name in sys.modules if name.startswith("petastorm.")]:
            del sys.modules[name]
    sys.meta_path.insert(0, _FINDER)


def replace_stand_in() -> None:
    """Load Petastorm in place of the stand-in module ``petastorm`` that is being loaded."""
    _install()
    del sys.modules["petastorm"]
    importlib.import_module("petastorm")


@functools.cache
def _folder_of_stand_in() -> str:
    """Return a folder with the file ``petastorm.py``, for processes that may import Petastorm before Convoy."""
    folder = scratch_folder("convoy-petastorm-")
    Path(folder, "petastorm.py").write_text(_STAND_IN)
    return folder


def _popen(args: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start one of Petastorm's processes so that it finds the stand-in first, and Convoy where this process has it."""
    import convoy

    environment = dict(options.pop("env", None) or os.environ)
    folders = [_folder_of_stand_in(), environment.get("PYTHONPATH"), str(Path(convoy.__file__).parents[1])]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    return subprocess.Popen(args, env=environment, **options)


def _prepare_spark_on_write(dataset_metadata: ModuleType) -> None:
    """Let ``materialize_dataset`` prepare Spark's workers, which create the rows to write with Petastorm objects."""
    begin = dataset_metadata._init_spark

    @functools.wraps(begin)
    def begin_prepared(spark: Any, *args: Any, **options: Any) -> Any:
        prepare_spark(spark.sparkContext)
        return begin(spark, *args, **options)

    dataset_metadata._init_spark = begin_prepared  # type: ignore[attr-defined]


def _look_for_the_end_first(thread_pool: ModuleType) -> None:
    """Fix the end condition of the thread pool of Petastorm 0.13.

    It checks whether the workers have finished their items, and then whether all items have been ventilated. The last
    items may be ventilated between the two checks, so that small datasets are often read without any row.
    """
    pool = thread_pool.ThreadPool
    if not hasattr(pool, "all_workers_done"):
        return
    are_done = pool.all_workers_done

    @functools.wraps(are_done)
    def have_all_and_are_done(self: Any) -> bool:
        return (not self._ventilator or self._ventilator.completed()) and are_done(self)

    pool.all_workers_done = have_all_and_are_done


_prepared: set[str] = set()


def prepare_spark(context: Any) -> None:
    """Send the stand-in to the Python workers of a SparkContext, once, if Petastorm needs it."""
    if NEEDED and context.applicationId not in _prepared:
        context.addPyFile(os.path.join(_folder_of_stand_in(), "petastorm.py"))
        _prepared.add(context.applicationId)


def petastorm() -> ModuleType:
    """Return the module ``petastorm``, usable with the installed PyArrow, NumPy and pandas.

    After this call, ``import petastorm`` and imports of its modules work in this process and, if a Spark session is
    active, in its Python workers::

        import convoy

        petastorm = convoy.petastorm()
        with petastorm.make_reader("file:///data/pictures") as reader:
            ...

    Call it after the session has started (``materialize_dataset`` prepares the session that it receives), and in each
    process that does not belong to Spark, for instance at the beginning of the function of ``horovod.spark.run``.
    """
    install()
    module = importlib.import_module("petastorm")
    if "pyspark" in sys.modules:
        from pyspark import SparkContext  # of a classic session

        if context := SparkContext._active_spark_context:
            prepare_spark(context)
    return module
