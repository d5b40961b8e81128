"""The provenance of a run, with which it can be repeated: configuration, code, packages, machine."""

import hashlib
import json
import platform
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import mlflow
import yaml

from convoy.cluster.cores import cores
from convoy.config import Config
from convoy.dataset.storage.manifest import Manifest
from convoy.models.lazy_import import onednn_enabled
from convoy.tracking.redaction import text_without_secrets, without_secrets

CONFIG = "config.yaml"
PACKAGES = "environment/packages.txt"
MACHINE = "environment/machine.json"
CHANGES = "environment/uncommitted.diff"

COMMIT = "mlflow.source.git.commit"
CHANGES_SHA256 = "git.uncommitted_sha256"
DATASET, VERSION, FINGERPRINT = "dataset.name", "dataset.version", "dataset.fingerprint"
WEIGHTS_SHA256 = "weights.sha256"
INITIAL_SHA256 = "initial_weights.sha256"
REPRODUCES, IDENTICAL = "convoy.reproduces", "convoy.identical"

_HEADER = "# The configuration that this run was trained with, and the dataset version; secrets are left out.\n"
_LONGEST_DIFF = 1_000_000  # characters
_VECTORS = re.compile(r"(sse4|avx|fma|amx|asimd|sve|bf16|i8mm)")
_GIT_SECONDS = 60  # the first look at a large repository on a slow disk takes a while


def log_record(run_id: str, config: Config, manifest: Manifest) -> None:
    """Log configuration, packages, machine and uncommitted changes of the code; no environment variables.

    Args:
        run_id: The run; its existing record is replaced.
        config: The effective configuration.
        manifest: Manifest of the dataset version.
    """
    client = mlflow.MlflowClient()
    changes = _git("diff", "HEAD", "--no-color", "--no-ext-diff")
    with tempfile.TemporaryDirectory(prefix="convoy-") as temporary:
        folder = Path(temporary)
        (folder / "environment").mkdir()
        (folder / CONFIG).write_text(config_text(config, manifest.version), encoding="utf-8")
        (folder / PACKAGES).write_text(packages_text(installed()), encoding="utf-8")
        (folder / MACHINE).write_text(json.dumps(machine(), indent=1) + "\n", encoding="utf-8")
        if changes:
            client.set_tag(run_id, CHANGES_SHA256, hashlib.sha256(changes.encode()).hexdigest())
            shown = text_without_secrets(changes)
            cut = f"\n... and {len(shown) - _LONGEST_DIFF:,} characters more\n" if len(shown) > _LONGEST_DIFF else ""
            (folder / CHANGES).write_text(shown[:_LONGEST_DIFF] + cut, encoding="utf-8")
        client.log_artifacts(run_id, str(folder))


def config_text(config: Config, version: str) -> str:
    """Return the configuration as YAML for every job, with the dataset's version, without a run to resume.

    Args:
        config: The configuration.
        version: Id of the dataset version.
    """
    training, dataset = replace(config.training, resume=None), replace(config.dataset, version=version)
    values = _blanked(asdict(replace(config, training=training, dataset=dataset)), "")
    return _HEADER + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)


def _blanked(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _blanked(inner, f"{name}.{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_blanked(inner, name) for inner in value]
    shown = without_secrets(name, str(value))
    return value if shown == str(value) else shown


def installed() -> dict[str, str]:
    """Return a mapping: distribution, its name normalised -> version, of all installed packages."""
    found = [(re.sub(r"[-_.]+", "-", dist.name).lower(), dist.version) for dist in distributions() if dist.name]
    return dict(reversed(found))  # of duplicates, the first one on sys.path is imported


def packages_text(packages: Mapping[str, str]) -> str:
    """Format packages like ``pip freeze``."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(packages.items()))


def read_packages(text: str) -> dict[str, str]:
    """Parse the text of ``packages_text``."""
    pairs = (line.partition("==") for line in text.splitlines() if "==" in line)
    return {name: version for name, _, version in pairs}


def machine() -> dict[str, str]:
    """Return the properties of this machine and its Python that can change the last bits of a result."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _of_processor("model name") or platform.processor() or platform.machine(),
        # Virtual machines of the same name may differ in these; TensorFlow and oneDNN choose their kernels by them.
        "vectors": " ".join(sorted(filter(_VECTORS.match, _of_processor("flags", "Features").split()))),
        "cpus": str(cores()),
        "onednn": "on" if onednn_enabled() else "off",
    }


def _of_processor(*names: str) -> str:
    """Return the first value in /proc/cpuinfo under one of these names; empty if there is none."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in names:
                return value.strip()
    except OSError:
        pass
    return ""


def git_commit() -> str:
    """Return the commit that is checked out, with ``-dirty`` if files differ; empty outside a repository."""
    return (_git("describe", "--always", "--abbrev=40", "--dirty", "--exclude=*") or "").strip()


def uncommitted_sha256() -> str:
    """Return the checksum of the uncommitted changes; empty if there are none."""
    changes = _git("diff", "HEAD", "--no-color", "--no-ext-diff")
    return hashlib.sha256(changes.encode()).hexdigest() if changes else ""


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, errors="replace", timeout=_GIT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def mark_identical(run_id: str, identical: bool) -> None:
    """Tag a reproduction with its result."""
    mlflow.MlflowClient().set_tag(run_id, IDENTICAL, str(identical).lower())


def tags_of_weights(file: str | None) -> dict[str, str]:
    """Return a tag with the checksum of a file of initial weights; empty if there is no file."""
    if file is None:
        return {}
    with open(file, "rb") as content:
        return {INITIAL_SHA256: hashlib.file_digest(content, "sha256").hexdigest()}
