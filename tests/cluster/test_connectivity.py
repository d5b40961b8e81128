"""Machines with addresses of their own that try each other before ranks start: reached, and behind a wall."""

import subprocess
import sys

import pytest

from tests.cluster.network import Network

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(bool(Network.missing()), reason=Network.missing())]

DRIVER = """
import sys
from convoy.cluster.connectivity import listening
with listening(sys.argv[1], sys.argv[1], 2) as (host, port):
    print(port, flush=True)
    sys.stdin.read()
"""
WORKER = """
import sys
from convoy.cluster.connectivity import question
print(question((sys.argv[1], int(sys.argv[2])))())
"""


def tried(hosts):
    """What each worker says."""
    driver, *workers = hosts
    pipe = subprocess.PIPE
    command = [*driver.enter, sys.executable, "-c", DRIVER, driver.address]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        port = process.stdout.readline().strip()
        asked = [
            subprocess.Popen([*host.enter, sys.executable, "-c", WORKER, driver.address, port], stdout=pipe, text=True)
            for host in workers
        ]
        said = [each.communicate(timeout=60)[0].strip() for each in asked]
        process.stdin.close()
    return said


def test_workers_reach_the_driver_and_each_other_or_say_whom_they_do_not():
    with Network() as network:
        assert tried(network.hosts) == ["None", "None"]
        first, second = network.hosts[1:]
        subprocess.run([*first.enter, "ip", "route", "add", "blackhole", f"{second.address}/32"], check=True)
        said = tried(network.hosts)
        assert said[0].startswith(f"another worker at {second.address}:")
        subprocess.run([*first.enter, "ip", "route", "add", "blackhole", f"{network.hosts[0].address}/32"], check=True)
        assert tried(network.hosts)[0].startswith(f"the driver at {network.hosts[0].address}:")
