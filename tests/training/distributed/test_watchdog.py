"""When a training counts as standing still."""

import threading
import time

import pytest

from convoy.training.distributed import watchdog
from convoy.training.distributed.watchdog import Watchdog
from convoy.training.events import Started, Step, System

pytestmark = pytest.mark.timeout(120)

STARTED, STEP = Started(0, 1, "host", 1), Step(0, 1, 1, 1, 0.5, 100.0)


class Clock:
    """The watch's clock, in the test's hands, so that no test depends on the speed of the machine."""

    def __init__(self):
        self.now, self.looks = 1000.0, 0

    def monotonic(self):
        self.looks += 1
        return self.now

    def passes(self, seconds):
        """Go on, and wait until the watch has looked at the clock since."""
        self.now += seconds
        looks = self.looks
        while self.looks < looks + 2:
            time.sleep(0.005)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(watchdog, "START_SECONDS", 1.5)
    clock = Clock()
    monkeypatch.setattr(watchdog, "time", clock)
    return clock


@pytest.fixture
def stop():
    return threading.Event()


def test_before_the_first_step_the_time_to_start_counts_then_the_timeout(clock, stop):
    with Watchdog(0.3, stop.set) as watch:
        clock.passes(1.4)
        watch.heartbeat(STARTED)
        clock.passes(1.4)
        assert not stop.is_set()
        watch.heartbeat(STEP)
        clock.passes(0.2)
        assert not stop.is_set()
        clock.now += 0.2
        assert stop.wait(60)
    assert watch.stalled
    assert watch.limit == 0.3


def test_a_start_that_hangs_is_ended_as_well(clock, stop):
    with Watchdog(0.3, stop.set) as watch:
        clock.now += 1.6
        assert stop.wait(60)
    assert watch.stalled


def test_only_progress_is_a_sign_of_life(clock, stop):
    with Watchdog(0.4, stop.set) as watch:
        for _ in range(4):
            watch.heartbeat(STEP)
            clock.passes(0.3)
        assert not stop.is_set()
        watch.heartbeat(System(0, {}))  # a machine's own measurements go on when training does not
        clock.now += 0.2
        assert stop.wait(60)
    assert watch.stalled


def test_what_waits_for_its_turn_does_not_stand_still(clock, stop):
    with Watchdog(0.2, stop.set, begun=False) as watch:
        clock.passes(1000)
        assert not stop.is_set()
        watch.heartbeat(STARTED)
        clock.now += 1.6
        assert stop.wait(60)
    assert watch.limit == 1.5
