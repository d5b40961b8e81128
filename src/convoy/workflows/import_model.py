"""Log a model of another program as one of Convoy, with what it does not say about itself."""

import time
from pathlib import Path

from convoy.config import Config
from convoy.config.locations import local_or_model
from convoy.console import say
from convoy.errors import ConfigError, ModelError
from convoy.models.external.files import read_network
from convoy.models.external.package import foreign_package
from convoy.models.package import METADATA
from convoy.tracking import connection
from convoy.tracking.model_io import download, log_package
from convoy.workflows.model_facts import facts_of
from convoy.workflows.results import ImportResult

_SCHEMES = ("models:", "runs:")


def import_model(config: Config, source: str | None) -> ImportResult:
    """Log a Keras model of another program, so that it is scored, evaluated and served as one that Convoy trained.

    No code of the model is run: networks with layers that contain Python code are refused.

    Args:
        config: Sections ``tracking`` and ``scoring``; the fields ``preprocessing``, ``head``, ``classes``,
            ``image_size`` and ``resize`` of the latter state what the model does not say about itself.
        source: A ``.keras`` or ``.h5`` file, a SavedModel folder of Keras 2, the folder of an MLflow model, or the URI
            of one.

    Returns:
        The logged model.

    Raises:
        ConvoyError: Something that the user gave does not fit; the message says how to fix it.
    """
    started = time.monotonic()
    if not source:
        raise ConfigError("--model is missing; expected a .keras or .h5 file, a SavedModel folder or a model URI")
    source = local_or_model("--model", source)
    facts = facts_of(config.scoring)
    remote = source.startswith(_SCHEMES)
    path = Path(source).expanduser()
    if not remote and not path.exists():
        raise ConfigError(f"--model {source!r} does not exist; expected a file, a folder or a model URI")
    connection.connect(config.tracking.uri, config.tracking.registry_uri, create=not remote)
    if remote:
        _, path, description = download(source)
        if METADATA in (description.metadata or {}):
            raise ModelError(f"{source} is a model of Convoy already; use it as it is")
    read = read_network(path, source)
    package = foreign_package(source, read.content, None, None, None, facts, read.applied)
    tags = {"convoy.imported_from": source, "convoy.imported_kind": read.kind}
    run_id, uri, version = log_package(package, config.tracking.experiment, config.tracking.registered_model, tags)
    classes = ", ".join(package.classes[:5]) + (", ..." if len(package.classes) > 5 else "")
    classes = f"{len(package.classes):,} classes ({classes})"
    say(f"import-model: {source} ({read.kind}) takes {package.spec}, {classes} -> {uri}")
    return ImportResult(
        run_id=run_id,
        model_uri=uri,
        model_version=version,
        kind=read.kind,
        shape=list(package.spec.shape),
        dtype=package.spec.dtype,
        classes=len(package.classes),
        seconds=round(time.monotonic() - started, 3),
    )
