"""Probe of a machine: sent to executors as code, and run on the driver too."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from convoy.cluster import cores, preflight
from convoy.cluster.connectivity import Meeting
from convoy.doctor.facts import Folder, Host
from convoy.training.distributed import toolkit


def probe_of(
    manifest: str, dataset: str, checkpoints: str, *, thorough: bool, meeting: Meeting | None = None
) -> Callable[[Iterable[int]], Iterator[str]]:
    """Return the function that a task runs. It is local, so Spark pickles its code: executors do not need Convoy.

    Args:
        manifest: Manifest of the configured dataset version; an empty string for none.
        dataset: Folder of the datasets, absolute.
        checkpoints: Folder of the checkpoints, absolute.
        thorough: Whether TensorFlow and Horovod are loaded, which takes seconds.
        meeting: Address and port of the driver to connect to; None for none.
    """
    quick, tools, counted = preflight.probe_of(manifest, None, meeting), toolkit.question(), cores.question()

    def probe(_: Iterable[int]) -> Iterator[str]:
        import json
        import os
        import platform
        import shutil
        import uuid

        def stored(url: str) -> dict[str, Any]:
            import fsspec

            found = {"path": url, "exists": True, "readable": True, "writable": True, "free_mb": 1 << 40}
            store = fsspec.filesystem(url.partition("://")[0], use_listings_cache=False)
            hidden = f"{url.rstrip('/')}/.probe-{uuid.uuid4().hex}"
            try:
                store.pipe_file(hidden, b"0")
                store.rm_file(hidden)
            except Exception:  # each store has its own
                found["writable"] = False
                try:
                    store.ls(url)
                except Exception:
                    found["readable"] = False
            return found

        def folder(path: str) -> dict[str, Any]:
            if "://" in path:
                return stored(path)
            nearest = path
            while not os.path.exists(nearest):
                nearest = os.path.dirname(nearest)
            usable = os.path.isdir(nearest) and os.access(nearest, os.X_OK)
            return {
                "path": path,
                "exists": nearest == path,
                "readable": usable and os.access(nearest, os.R_OK),
                "writable": usable and os.access(nearest, os.W_OK),
                "free_mb": shutil.disk_usage(nearest).free >> 20,
            }

        machine = json.loads(next(quick([])))
        yield json.dumps(
            {
                "machine": machine,
                "python": platform.python_version(),
                "cores": counted("/", None),
                "memory_mb": machine["memory"]["total"] >> 20,
                "gpu": os.path.exists("/dev/nvidiactl"),
                "toolkit": tools() if thorough else None,
                "dataset": folder(dataset),
                "checkpoints": folder(checkpoints),
            }
        )

    return probe


def host_of(answer: str) -> Host:
    """Parse the answer of a probe."""
    fields = json.loads(answer)
    tools = fields.pop("toolkit")
    return Host(
        machine=preflight.Machine(**fields.pop("machine")),
        toolkit=None if tools is None else toolkit.Toolkit(**tools),
        dataset=Folder(**fields.pop("dataset")),
        checkpoints=Folder(**fields.pop("checkpoints")),
        **fields,
    )
