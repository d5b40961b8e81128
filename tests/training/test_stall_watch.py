"""When a training counts as standing still."""

import threading
import time

import pytest

from convoy.training import stall
from convoy.training.stall import StallWatch

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(autouse=True)
def _start_quickly(monkeypatch):
    monkeypatch.setattr(stall, "START_SECONDS", 1.5)


def test_before_the_first_step_the_time_to_start_counts_then_the_timeout():
    stop = threading.Event()
    with StallWatch(0.3, stop.set) as watch:
        assert not stop.wait(0.8)
        watch.alive("started")
        assert not stop.wait(0.8)
        watch.alive("step")
        assert stop.wait(10)
    assert watch.stalled
    assert watch.limit == 0.3


def test_a_start_that_hangs_is_ended_as_well():
    stop = threading.Event()
    with StallWatch(0.3, stop.set) as watch:
        assert stop.wait(10)
    assert watch.stalled


def test_only_progress_is_a_sign_of_life():
    stop, started = threading.Event(), time.monotonic()
    with StallWatch(0.4, stop.set) as watch:
        for _ in range(4):
            watch.alive("step")
            time.sleep(0.2)
        assert not stop.is_set()
        while not stop.wait(0.05) and time.monotonic() - started < 20:
            watch.alive("system")  # a machine's own measurements go on when training does not
    assert watch.stalled


def test_what_waits_for_its_turn_does_not_stand_still():
    stop = threading.Event()
    with StallWatch(0.2, stop.set, begun=False) as watch:
        assert not stop.wait(2)
        watch.alive("started")
        assert stop.wait(10)
    assert watch.limit == 1.5
