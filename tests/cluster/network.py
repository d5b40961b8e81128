"""Hosts with addresses of their own on one machine: network namespaces on a bridge; its own network is untouched."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

from tests.standalone import Host

INTERFACE = "convoy0"  # of one name on all hosts: Horovod looks for one that they have in common
_FILES = Path("/etc/netns")


class Network:
    """A driver's host with a bridge, and two workers' hosts.

    Args:
        named: Whether a host's own name stands for the address that others reach; else for the loopback interface.
    """

    def __init__(self, *, named: bool = True) -> None:
        self.named = named
        self.names = [f"convoy-{os.getpid()}-{i}" for i in range(3)]
        self.hosts = [Host(f"10.77.0.{i + 1}", ("ip", "netns", "exec", name)) for i, name in enumerate(self.names)]

    @staticmethod
    def missing() -> str:
        """Say why there can be none; empty where there can."""
        if os.geteuid() != 0:
            return "network namespaces need root"
        return "" if shutil.which("ip") else "network namespaces need iproute2"

    def __enter__(self) -> "Network":
        for name, host in zip(self.names, self.hosts, strict=True):
            address = host.address if self.named else "127.0.1.1"
            (_FILES / name).mkdir(parents=True)  # `ip netns exec` shows what is in it below /etc
            (_FILES / name / "hosts").write_text(f"127.0.0.1 localhost\n{address} {socket.gethostname()}\n")
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        bridge = self.names[0]
        _ip("-n", bridge, "link", "add", INTERFACE, "type", "bridge")
        for i, name in enumerate(self.names[1:]):
            port = f"port{i}"
            _ip("-n", bridge, "link", "add", port, "type", "veth", "peer", "name", INTERFACE, "netns", name)
            _ip("-n", bridge, "link", "set", port, "master", INTERFACE, "up")
        for name, host in zip(self.names, self.hosts, strict=True):
            _ip("-n", name, "addr", "add", f"{host.address}/24", "dev", INTERFACE)
            _ip("-n", name, "link", "set", INTERFACE, "up")
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], check=False)
            shutil.rmtree(_FILES / name, ignore_errors=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=10)
