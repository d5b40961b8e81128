"""Checks of the gathered facts: pure functions that return one or more findings each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from convoy.cluster import connectivity
from convoy.cluster.compatibility import PYTHONS, conflicts
from convoy.cluster.preflight import differences, first_problem, unreachable
from convoy.config import Config
from convoy.dataset.storage.filesystem import RENAMES
from convoy.dataset.storage.manifest import NAME as MANIFEST
from convoy.doctor.facts import Facts, Folder, Host
from convoy.doctor.pins import Pins
from convoy.tracking.redaction import without_secrets

Level = Literal["ok", "warning", "error"]
_LITTLE_MB = 1024  # free space, and memory of a rank
_NAMED = 5
_SHIP = "ship this environment with --archives (see docs/cluster.md), or install its versions there"
_SETUP = "make setup installs the tested versions"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        check: Name of the check.
        level: ``error`` if a job would fail, ``warning`` if it may fail.
        text: What was found.
        fix: How to fix it; empty if there is nothing to fix.
    """

    check: str
    level: Level
    text: str
    fix: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the fields as ``convoy doctor --json`` prints them."""
        return {"check": self.check, "level": self.level, "text": self.text, "mend": self.fix}

    def cells(self) -> tuple[str, str, str]:
        """Return the row of the finding in a table."""
        return self.level, self.check, f"{self.text}; {self.fix}" if self.fix else self.text


def examine(facts: Facts, config: Config, pins: Pins) -> list[Finding]:
    """Run all checks and return the findings, in the order in which they should be fixed."""
    return [
        check_python(facts.driver.python),
        Finding("convoy", "ok", facts.convoy),
        *check_packages(facts.packages, pins),
        *check_tools(facts.driver, config),
        check_machine(facts, config),
        check_dataset(facts.driver.dataset, facts.version_path),
        check_checkpoints(facts.driver.checkpoints),
        *check_file_systems(facts.missing, config),
        check_tracking(facts, config),
        *check_spark(facts, config),
        *check_executors(facts),
    ]


def check_python(version: str) -> Finding:
    """Return whether Convoy supports this version of Python."""
    if version.rpartition(".")[0] in PYTHONS:
        return Finding("python", "ok", version)
    supported = ", ".join(PYTHONS)
    return Finding(
        "python", "error", f"{version}, but Convoy supports {supported}", f"make setup with one of {supported}"
    )


def check_packages(packages: dict[str, str | None], pins: Pins) -> list[Finding]:
    """Return the packages that are missing, outside their range, newer than tested, or incompatible."""
    missing = [name for name in pins.tested if packages.get(name) is None]
    outside, newer = [], []
    for name, tested in pins.tested.items():
        version = packages.get(name)
        if version is None:
            continue
        allowed = pins.ranges.get(name, "")
        if allowed and not SpecifierSet(allowed).contains(version, prereleases=True):
            outside.append(f"{name} {version} (supported: {allowed})")
        elif Version(version) > Version(tested):
            newer.append(f"{name} {version} (tested up to {tested})")
    found: tuple[tuple[Level, str, list[str]], ...] = (
        ("error", "missing: ", missing),
        ("error", "outside the supported range: ", outside),
        ("error", "these do not work together: ", conflicts(packages)),
        ("warning", "newer than tested: ", newer),
    )
    findings = [
        Finding("packages", level, f"{what}{', '.join(names)}", _SETUP) for level, what, names in found if names
    ]
    return findings or [Finding("packages", "ok", f"{len(pins.tested)} direct ones, all in their supported ranges")]


def check_tools(host: Host, config: Config) -> list[Finding]:
    """Return TensorFlow's devices, and how Horovod was built."""
    tools = host.toolkit
    if tools is None:
        return []
    if tools.devices is None:
        return [Finding("tensorflow", "error", f"does not load: {tools.problem}", _SETUP)]
    gpus = [device for device in tools.devices if device.startswith("GPU")]
    onednn = "" if tools.onednn is None else f", oneDNN {'on' if tools.onednn else 'off'}"
    findings = [Finding("tensorflow", "ok", f"devices {', '.join(tools.devices)}{onednn}")]
    if host.gpu and not gpus:
        fix = "install convoy-ml[gpu], and a driver that supports its CUDA version"
        findings = [Finding("tensorflow", "warning", "this machine has a GPU that TensorFlow does not see", fix)]
    built = "with " + ", ".join(name for name, there in tools.built.items() if there)
    if not tools.built:
        rebuild = "rebuild it with this TensorFlow (tools/setup.sh shows how)"
        findings.append(Finding("horovod", "error", f"does not load: {tools.problem}", rebuild))
    elif not tools.built.get("gloo"):
        findings.append(Finding("horovod", "error", "built without Gloo", "build it with HOROVOD_WITH_GLOO=1"))
    elif gpus and not tools.built.get("nccl"):
        text, fix = (
            f"built {built}: gradients are copied through host memory",
            "build it with HOROVOD_GPU_OPERATIONS=NCCL",
        )
        findings.append(Finding("horovod", "warning", text, fix))
    else:
        findings.append(Finding("horovod", "ok", f"built {built}"))
    return findings


def check_machine(facts: Facts, config: Config) -> Finding:
    """Return cores and memory; with a local master, compare them with the number of ranks."""
    driver, ranks = facts.driver, config.training.num_workers
    text = f"{driver.cores} cores, {driver.memory_mb / 1024:.1f} GiB of memory"
    if not facts.cluster.master.startswith("local") or not ranks:
        return Finding("machine", "ok", text)
    if driver.memory_mb < (ranks + 1) * _LITTLE_MB:
        fix = "lower training.num_workers, or use a larger machine"
        return Finding("machine", "warning", f"{text}, for the driver and {ranks} ranks", fix)
    if driver.cores < ranks:
        return Finding(
            "machine", "warning", f"{text}, for {ranks} ranks", "lower training.num_workers: ranks share cores"
        )
    return Finding("machine", "ok", text)


def check_dataset(folder: Folder, version_path: str | None) -> Finding:
    """Return the state of the datasets' folder on the driver."""
    space = _space(folder)
    if not folder.exists:
        if folder.writable:
            return Finding("dataset", "ok", f"{folder.path} does not exist yet; ingest creates it; {space}")
        return Finding("dataset", "error", f"{folder.path} does not exist and cannot be created", "fix dataset.root")
    if not folder.readable:
        return Finding("dataset", "error", f"{folder.path} cannot be read", "fix its permissions, or dataset.root")
    found = version_path or f"{folder.path}, without the configured version yet; ingest creates it"
    if not folder.writable:
        fix = "choose another dataset.root for ingest; training only reads it"
        level: Level = "warning" if version_path else "error"
        return Finding("dataset", level, f"{found}; it cannot be written to", fix)
    if folder.free_mb < _LITTLE_MB:
        return Finding(
            "dataset", "warning", f"{found}; only {folder.free_mb} MiB free", "free disk space before an ingest"
        )
    return Finding("dataset", "ok", f"{found}; {space}")


def check_checkpoints(folder: Folder) -> Finding:
    """Return the state of the checkpoint folder, which rank 0 writes to."""
    if not folder.writable:
        text = f"{folder.path} cannot be written to"
        return Finding("checkpoints", "error", text, "fix training.checkpoint.folder, or its permissions")
    if folder.free_mb < _LITTLE_MB:
        return Finding("checkpoints", "warning", f"{folder.path}: only {folder.free_mb} MiB free", "free disk space")
    return Finding("checkpoints", "ok", f"{folder.path}; {_space(folder)}")


def _space(folder: Folder) -> str:
    return "an object store" if "://" in folder.path else f"{folder.free_mb / 1024:.1f} GiB free"


def check_file_systems(missing_of: Mapping[str, Sequence[str]], config: Config) -> list[Finding]:
    """Return which file systems lack an operation that publishing uses, and what jobs do there.

    Args:
        missing_of: Field of a folder -> what its file system cannot do, as ``Facts.missing``.
        config: The configuration.
    """
    by_file = {
        "dataset.root": "ingest publishes a version file by file, its manifest last",
        "training.checkpoint.folder": "checkpoints are written file by file, state.json last",
        "scoring.output": "scores are published file by file, so readers may see a part of them",
    }
    findings = []
    for field, missing in missing_of.items():
        if not missing:
            continue
        text = f"{field} is on a file system without {', '.join(missing)}"
        if field == "scoring.output" and config.scoring.stream and set(RENAMES) & set(missing):
            findings.append(Finding("folders", "error", f"{text}; scoring.stream needs them", "choose another folder"))
            continue
        effects = [by_file[field]] if set(RENAMES) & set(missing) else []
        effects += ["leftovers of killed jobs stay for a day"] if "locks" in missing else []
        effects += ["scoring.mode append copies the earlier files"] if "hard links" in missing and not effects else []
        fix = "choose another folder if that matters"
        findings.append(Finding("folders", "warning", ": ".join([text, *filter(None, [", and ".join(effects)])]), fix))
    return findings


def check_tracking(facts: Facts, config: Config) -> Finding:
    """Return the state of MLflow's tracking store."""
    if facts.tracking_problem is not None:
        text, _, fix = facts.tracking_problem.partition("; ")
        return Finding("tracking", "error", text, fix)
    return Finding("tracking", "ok", f"{without_secrets('uri', config.tracking.uri)} {facts.tracking}")


def check_spark(facts: Facts, config: Config) -> list[Finding]:
    """Return whether Spark starts, and has a slot for each rank."""
    cluster, training = facts.cluster, config.training
    if cluster.remote:
        text = f"{cluster.master}: {cluster.slots} tasks at once, whose Python workers have convoy"
        if not training.num_workers:
            return [Finding("spark", "ok", text)]
        needs = f"training.num_workers is {training.num_workers}, and Horovod's ranks need a classic session"
        return [Finding("spark", "warning", f"{text}; {needs}", "set it to 0 where you train")]
    if cluster.java is None:
        text, _, fix = (cluster.problem or "Spark does not start").partition("; ")
        return [Finding("spark", "error", text, fix)]
    needed = training.min_workers if training.elastic else training.num_workers
    text = f"{cluster.master}: {cluster.slots} task{'' if cluster.slots == 1 else 's'} at once"
    findings = [Finding("java", "ok", cluster.java)]
    if cluster.slots < max(1, needed):
        field = "min_workers" if training.elastic else "num_workers"
        fix = f"give Spark more cores{f', or lower training.{field} to {cluster.slots}' if cluster.slots else ''}"
        findings.append(Finding("spark", "error", f"{text}, but training.{field} is {needed}", fix))
    else:
        findings.append(Finding("spark", "ok", f"{text}; training.num_workers is {training.num_workers}"))
    return findings


def check_executors(facts: Facts) -> list[Finding]:
    """Compare the executors' machines with the driver's."""
    cluster, driver = facts.cluster, facts.driver
    if cluster.java is not None and cluster.problem is not None:
        text, _, fix = cluster.problem.partition("; ")
        return [Finding("executors", "error", text, fix or "check their logs")]
    if not cluster.hosts:
        return []
    hosts = {host.machine.host: host for host in cluster.hosts}
    findings = [finding for name in sorted(hosts) for finding in _of_executor(driver, hosts[name], facts.version_path)]
    if (alone := unreachable([host.machine for host in cluster.hosts])) is not None:
        text, _, fix = alone.partition("; ")
        findings.append(Finding("executors", "error", text, fix))
    if not findings:
        names = sorted(hosts)
        shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        findings.append(Finding("executors", "ok", f"on {shown}: same versions as the driver, same folders"))
    return findings


def _of_executor(driver: Host, host: Host, version_path: str | None) -> list[Finding]:
    """Return what is wrong with one executor's machine."""
    name, findings = f"host {host.machine.host}", []
    if found := differences(driver.machine, host.machine):
        findings.append(Finding("executors", "error", f"{name} has {found}", _SHIP))
    if host.machine.unreached is not None:
        text, _, fix = connectivity.problem(host.machine.host, host.machine.unreached).partition("; ")
        findings.append(Finding("executors", "error", text, fix))
    tools, own = host.toolkit, driver.toolkit
    if tools is not None and tools.problem is not None and not found:
        findings.append(Finding("executors", "error", f"on {name} TensorFlow or Horovod fails: {tools.problem}", _SHIP))
    elif tools is not None and own is not None and tools.built and own.built and tools.built != own.built:
        findings.append(Finding("executors", "error", f"{name} has another build of Horovod: {tools.built}", _SHIP))
    shared = "put it on a shared file system, mounted at the same path everywhere"
    if version_path is not None and host.machine.manifest != driver.machine.manifest:
        alike = replace(host.machine, versions=driver.machine.versions, unreached=None)  # reported above
        problem = first_problem(driver.machine, [alike], f"{version_path}/{MANIFEST}")
        text, _, fix = str(problem).partition("; ")
        findings.append(Finding("executors", "error", text, fix))
    elif driver.dataset.exists != host.dataset.exists or (driver.dataset.writable and not host.dataset.writable):
        findings.append(
            Finding("executors", "error", f"{name} does not see {host.dataset.path} as the driver does", shared)
        )
    if not host.checkpoints.writable:
        findings.append(Finding("executors", "error", f"{name} cannot write to {host.checkpoints.path}", shared))
    return findings
