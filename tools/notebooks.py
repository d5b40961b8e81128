"""Execute the notebooks and write their outputs: ``python tools/notebooks.py``, or only those named.

The .ipynb files are the only source. A digest of the code of a notebook is kept with its outputs, so that a test finds
notebooks that were edited and not executed again.
"""

import base64
import hashlib
import io
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
LARGE = "large-output"
"""Tag of a cell whose output is not kept, because of its size."""
PARAMETERS = "parameters"
"""Tag of the cell with the values that ``execute`` can replace; papermill uses the same name."""
_SHOWN_FOLDER = "/home/me/convoy"  # stands for the folder in which a notebook was executed
_COLOURS = 40  # of a picture
_INLINE = re.compile("(?<=data:image/png;base64,)[A-Za-z0-9+/=]+")
_SECONDS = 1800  # for a cell; against hanging
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class _Kernel(AsyncKernelManager):
    """Starts the interpreter of this program, whatever kernels the user has."""

    @property
    def kernel_spec(self) -> KernelSpec:
        # The log level is that of the kernel itself, which warns that its ports on the loopback are not encrypted.
        argv = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "--log-level=ERROR"]
        return KernelSpec(argv=[*argv, "-f", "{connection_file}"], display_name="Python 3", language="python")


def main() -> None:
    """Execute the notebooks and write them."""
    for path in [Path(name).resolve() for name in sys.argv[1:]] or all_notebooks():
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="convoy-notebook-") as folder:
            executed = execute(path, Path(folder).resolve())
        nbformat.write(tidied(executed, folder), path)
        print(f"{path.relative_to(ROOT)}: {time.monotonic() - started:.0f} s, {path.stat().st_size / 1000:.0f} kB")


def all_notebooks() -> list[Path]:
    """Paths of the notebooks, in order."""
    return sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> Any:
    """The notebook in a file."""
    return nbformat.read(path, as_version=4)


def execute(path: Path, folder: Path, parameters: Mapping[str, Any] | None = None) -> Any:
    """Execute a notebook from top to bottom; an error in a cell is raised.

    Args:
        path: The notebook.
        folder: Current folder of its kernel; everything that it writes is in there.
        parameters: Variable -> value, to replace values of the cell with the tag ``parameters``.
    """
    notebook = read(path)
    if parameters:
        at = next(i for i, cell in enumerate(notebook.cells) if PARAMETERS in cell.metadata.get("tags", []))
        lines = [f"{name} = {value!r}" for name, value in parameters.items()]
        notebook.cells.insert(at + 1, nbformat.v4.new_code_cell("\n".join(lines)))
    with tempfile.TemporaryDirectory(prefix="convoy-jupyter-") as own:  # without the user's profiles and settings
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MPL"))}
        environment |= {"IPYTHONDIR": own, "JUPYTER_CONFIG_DIR": own, "JUPYTER_RUNTIME_DIR": own}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        client = NotebookClient(
            notebook,
            kernel_manager_class=_Kernel,
            timeout=_SECONDS,
            startup_timeout=_SECONDS,
            record_timing=False,
            resources={"metadata": {"path": str(folder)}},
        )
        executed = client.execute(env=environment)
    for cell in executed.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _of_netlib(output)]
    return executed


def _of_netlib(output: Any) -> bool:
    """Whether an output is what Spark ML's linear algebra prints on a machine without a native BLAS."""
    return output.get("name") == "stderr" and all(
        line.startswith("netlib-") for line in output.text.split("\n") if line
    )


def tidied(notebook: Any, folder: str) -> Any:
    """Return a notebook as it is committed: small, without paths of this machine, with the digest of its code."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        kept = [] if LARGE in cell.metadata.get("tags", []) else _joined(filter(_is_visible, cell.outputs))
        cell.outputs = [nbformat.from_dict(_smaller(_without_path(output, folder))) for output in kept]
    notebook.metadata = nbformat.from_dict({**_METADATA, "convoy": {"executed": digest(notebook)}})
    return notebook


def digest(notebook: Any) -> str:
    """SHA-256 of the code of a notebook."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def _is_visible(output: Any) -> bool:
    """Whether an output is more than what a progress bar leaves when it is removed."""
    return output.get("data") != {"text/plain": ""}


def _joined(outputs: Iterable[Any]) -> list[Any]:
    """Join the lines that were printed one after the other; nbclient's own option moves them above pictures."""
    joined: list[Any] = []
    for output in outputs:
        if joined and output.output_type == "stream" and joined[-1].get("name") == output.name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def _smaller(output: dict[str, Any]) -> dict[str, Any]:
    """Reduce the colours of pictures: photographs and shaded charts take a third of the space."""
    data = output.get("data", {})
    if "image/png" in data:
        data["image/png"] = _fewer_colours(data["image/png"].strip())
    if "text/html" in data:
        data["text/html"] = _INLINE.sub(lambda found: _fewer_colours(found[0]), data["text/html"])
    return output


def _fewer_colours(png: str) -> str:
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        reduced = picture.convert("RGB").quantize(_COLOURS)
    file = io.BytesIO()
    reduced.save(file, "PNG", optimize=True)
    return min(base64.b64encode(file.getvalue()).decode(), png, key=len)


def _without_path(value: Any, folder: str) -> Any:
    if isinstance(value, str):
        return value.replace(folder, _SHOWN_FOLDER)
    if isinstance(value, dict):
        return {key: _without_path(each, folder) for key, each in value.items()}
    return [_without_path(each, folder) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
