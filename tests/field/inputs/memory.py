"""Folders that look like /proc and /sys of a machine with 64 GiB, in a container or not."""

from pathlib import Path

GIB = 1 << 30
HOST = 64 * GIB
NO_LIMIT = "9223372036854771712"  # of control groups of version 1


def _write(root: Path, files: dict[str, object]) -> str:
    memory = f"MemTotal: {HOST >> 10} kB\nMemFree: 1 kB\nMemAvailable: {48 * GIB >> 10} kB\n"
    for name, text in {"proc/meminfo": memory, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return str(root)


def no_container(root: Path) -> str:
    """A user's session of systemd, without a limit."""
    return _write(root, {"proc/self/cgroup": "0::/user.slice/a", "sys/fs/cgroup/user.slice/a/memory.max": "max"})


def docker_v2(root: Path) -> str:
    """``docker run --memory 2g``: 1.5 GiB are in use, 0.5 GiB of them page cache."""
    group = "sys/fs/cgroup"
    files = {"memory.max": 2 * GIB, "memory.current": 3 * GIB // 2, "memory.stat": f"anon 1\ninactive_file {GIB // 2}"}
    return _write(root, {"proc/self/cgroup": "0::/", **{f"{group}/{name}": text for name, text in files.items()}})


def nested_v2(root: Path) -> str:
    """A pod of 4 GiB whose container may take 8: the outer limit counts."""
    pod = "sys/fs/cgroup/kubepods/pod1"
    files = {"memory.max": 4 * GIB, "memory.current": GIB, "app/memory.max": 8 * GIB, "app/memory.current": GIB}
    cgroup = {"proc/self/cgroup": "0::/kubepods/pod1/app"}
    return _write(root, cgroup | {f"{pod}/{name}": text for name, text in files.items()})


def docker_v1(root: Path) -> str:
    """Version 1 in a container: the path of the process is that of the host, which does not exist here."""
    group = "sys/fs/cgroup/memory"
    files = {
        "memory.limit_in_bytes": 3 * GIB,
        "memory.usage_in_bytes": 2 * GIB,
        "memory.stat": f"cache 9\ntotal_inactive_file {GIB}",
    }
    lines = "12:cpu,cpuacct:/docker/0af\n5:memory:/docker/0af\n1:name=systemd:/docker/0af\n0::/"
    return _write(root, {"proc/self/cgroup": lines, **{f"{group}/{name}": text for name, text in files.items()}})


def nested_v1(root: Path) -> str:
    """Version 1 with nested groups: the root has no limit, the job of a scheduler has one, its step none."""
    group = "sys/fs/cgroup/memory"
    files = {
        "memory.limit_in_bytes": NO_LIMIT,
        "slurm/job_7/memory.limit_in_bytes": GIB,
        "slurm/job_7/memory.usage_in_bytes": GIB // 4,
        "slurm/job_7/step_0/memory.limit_in_bytes": NO_LIMIT,
    }
    cgroup = {"proc/self/cgroup": "5:memory:/slurm/job_7/step_0"}
    return _write(root, cgroup | {f"{group}/{name}": text for name, text in files.items()})


def throttled_v2(root: Path) -> str:
    """A pod whose memory is slowed down from 1 GiB on (``memory.high``), and limited to 2 GiB."""
    group = "sys/fs/cgroup"
    files = {"memory.max": 2 * GIB, "memory.high": GIB, "memory.current": GIB // 4}
    return _write(root, {"proc/self/cgroup": "0::/", **{f"{group}/{name}": text for name, text in files.items()}})


def two_and_a_half_cores_v2(root: Path) -> str:
    """``docker run --cpus 2.5``."""
    return _write(root, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "250000 100000"})


def pod_of_two_cores_v2(root: Path) -> str:
    """A pod of two cores whose container has no limit of its own."""
    pod = "sys/fs/cgroup/kubepods/pod1"
    files = {f"{pod}/cpu.max": "200000 100000", f"{pod}/app/cpu.max": "max 100000"}
    return _write(root, {"proc/self/cgroup": "0::/kubepods/pod1/app", **files})


def half_a_core_v1(root: Path) -> str:
    """Version 1 in a container: ``--cpus 0.5``; the path of the process is that of the host."""
    group = "sys/fs/cgroup/cpu,cpuacct"
    files = {f"{group}/cpu.cfs_quota_us": "50000", f"{group}/cpu.cfs_period_us": "100000"}
    return _write(root, {"proc/self/cgroup": "4:cpu,cpuacct:/docker/0af\n5:memory:/docker/0af", **files})


def pinned_cores_v1(root: Path) -> str:
    """Version 1: ``--cpuset-cpus 0-3,8``, and no quota."""
    files = {"sys/fs/cgroup/cpuset/cpuset.cpus": "0-3,8", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1"}
    return _write(root, {"proc/self/cgroup": "3:cpuset:/docker/0af\n4:cpu:/docker/0af", **files})


def pinned_cores_v2(root: Path) -> str:
    """Version 2: ``--cpuset-cpus 2,4`` and a quota of eight."""
    group = "sys/fs/cgroup"
    files = {f"{group}/cpuset.cpus.effective": "2,4", f"{group}/cpu.max": "800000 100000"}
    return _write(root, {"proc/self/cgroup": "0::/", **files})
