"""Training with as many ranks as there are slots: the decision, and a real cluster that loses and gets a worker."""

import json
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.cluster.spark import too_few_slots
from convoy.config import TrainingConfig
from convoy.errors import ClusterError
from convoy.training.distributed import elastic
from convoy.training.distributed.elastic import (
    RETURN_SECONDS,
    SETTLE_SECONDS,
    ScaleUpMonitor,
    ranks_to_start,
    world_size,
)
from tests.standalone import Cluster
from tests.training import elastic_driver

slots = st.integers(0, 8)
seconds = st.floats(0, 100)


@given(slots, st.integers(1, 8), st.data(), seconds, st.booleans())
def test_no_more_ranks_than_slots_and_no_fewer_than_the_fewest(available, most, data, waited, lost):
    fewest = data.draw(st.integers(1, most))
    ranks = world_size(available, most, fewest, waited, lost=lost)
    if ranks is not None:
        assert fewest <= ranks <= min(available, most)
        assert ranks == min(available, most)
    else:
        assert available < fewest or waited < (SETTLE_SECONDS if available >= most else RETURN_SECONDS)


@given(st.sampled_from(["training.num_workers", "tune.parallel"]), st.integers(1, 9), slots)
def test_too_few_slots_are_one_line_that_can_be_followed(field, wanted, available):
    line = str(too_few_slots(field, wanted, "spark://m:7077", available))
    assert line.startswith(f"{field} is {wanted}, but Spark (master spark://m:7077) can run {available} task")
    name = field.partition(".")[2]
    assert line.endswith(
        f"; lower {name} to {available}, or give Spark more cores"
        if available
        else "start workers, or wait until other applications release theirs"
    )


@given(st.integers(1, 8))
def test_a_whole_cluster_is_not_waited_for_unless_ranks_were_lost(most):
    assert world_size(most, most, 1, 0, lost=False) == most
    assert world_size(most, most, 1, 0, lost=True) is None
    assert world_size(most, most, 1, SETTLE_SECONDS, lost=True) == most


def wanting(workers, least=1):
    return TrainingConfig(num_workers=workers, elastic=True, min_workers=least)


@pytest.mark.spark
def test_a_fixed_master_decides_at_once(spark):
    assert ranks_to_start(spark, wanting(3)) == 3
    assert ranks_to_start(spark, wanting(6)) == 4
    assert ranks_to_start(spark, wanting(6), lost=True) == 4
    with pytest.raises(
        ClusterError, match=r"min_workers is 5, but Spark \(master local\[4\]\) can run 4 tasks at once"
    ):
        ranks_to_start(spark, wanting(6, least=5))


@pytest.mark.parametrize(
    ("free", "ranks", "config", "grows"),
    [
        (3, 2, wanting(4), True),
        (2, 2, wanting(4), False),
        (9, 4, wanting(4), False),
        (9, 2, TrainingConfig(num_workers=4), False),
    ],
)
def test_ranks_are_ended_only_for_more_of_them(monkeypatch, free, ranks, config, grows):
    monkeypatch.setattr(elastic, "slots_now", lambda spark: free)
    stop = threading.Event()
    growth = ScaleUpMonitor(None, config, ranks, stop)
    growth.look()
    assert (growth.wanted, stop.is_set()) == (grows, grows)


class Driver:
    """A process of ``elastic_driver``, and the events that it prints."""

    def __init__(self, master, dataset, folder, kind):
        self.events, self.folder, self.log = [], folder, folder.with_suffix(".log")
        command = [sys.executable, elastic_driver.__file__, master, str(dataset), str(folder), kind]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        self.events.extend(json.loads(line) for line in self.process.stdout)

    def wait_for(self, kind, seconds, begin=0, **fields):
        """The place of the first such event from that place on."""
        deadline = time.monotonic() + seconds
        while True:
            for place, event in enumerate(self.events[begin:], begin):
                if event["type"] == kind and fields.items() <= event.items():
                    return place
            going_on = self.process.poll() is None and time.monotonic() < deadline
            assert going_on, f"no {kind!r} after {self.events[-5:]}: {self.log.read_text()[-3000:]}"
            time.sleep(0.05)

    def weights(self):
        assert self.process.wait(timeout=1200) == 0, self.log.read_text()[-3000:]
        self.reader.join(timeout=10)
        with np.load(self.folder / "weights.npz") as file:
            return [file[name] for name in file.files]

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)
        self.process.stdout.close()


@pytest.mark.spark
@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_worker_goes_for_good_and_another_comes(dataset, tmp_path):
    cluster, drivers = Cluster(tmp_path), []
    try:
        lost = [cluster.add_worker(), cluster.add_worker()][1]
        drivers.append(Driver(cluster.master, dataset, tmp_path / "elastic", "elastic"))
        driver = drivers[0]
        driver.wait_for("rank", 400, ranks=2)  # one might be late on a busy machine
        lost.kill()
        place = driver.wait_for("restart", 240)
        drivers.append(Driver("local[1]", dataset, tmp_path / "whole", "whole"))
        place = driver.wait_for("ranks", 240, place, ranks=1)
        cluster.add_worker()
        driver.wait_for("ranks", 400, place, ranks=2)
        trained, whole = (each.weights() for each in drivers)
    finally:
        for each in drivers:
            each.end()
        cluster.end()
    for own, other in zip(trained, whole, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5)
    assert [event["type"] for event in driver.events].count("restart") == 1
    worlds = {(e["epoch"], e["ranks"]) for e in driver.events if e["type"] == "rank"}
    assert {epoch for epoch, _ in worlds} == set(range(elastic_driver.EPOCHS))
    assert {ranks for _, ranks in worlds} == {1, 2}
