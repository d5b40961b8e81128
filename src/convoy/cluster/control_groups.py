"""Control groups of Linux, which limit the memory and the cores of containers and of jobs of a scheduler."""

from collections.abc import Callable

Finder = Callable[[str, str], list[tuple[str, int]]]
"""(folder that holds ``proc`` and ``sys``, controller) -> (folder of a group, version of the control groups), ..."""


def finder() -> Finder:
    """Return the function that lists this process's groups, outer ones first.

    It is local, so Spark sends its code to executors, which do not need Convoy for it.
    """

    def find(root: str, controller: str) -> list[tuple[str, int]]:
        import os

        try:
            with open(os.path.join(root, "proc", "self", "cgroup")) as file:
                lines = file.read().splitlines()
        except OSError:  # not on Linux
            return []
        places = []
        for line in lines:
            _, controllers, path = (*line.split(":", 2), "", "")[:3]
            if not controllers:
                places += [("sys/fs/cgroup", path, 2), ("sys/fs/cgroup/unified", path, 2)]
            elif controller in controllers.split(","):
                places += [(f"sys/fs/cgroup/{name}", path, 1) for name in dict.fromkeys((controllers, controller))]
        found = []
        for base, path, version in places:
            # In a container the path may be that of the host, which does not exist here; the mount's root always does.
            parts = [part for part in path.split("/") if part not in ("", "..")]
            found += [(os.path.join(root, base, *parts[:depth]), version) for depth in range(len(parts) + 1)]
        return found

    return find
