"""Metrics on their way to a store that is away for a while."""

import threading
import time

import pytest
from mlflow.entities import Metric

from convoy.errors import TrackingError
from convoy.tracking import metric_queue
from convoy.tracking.metric_queue import MetricQueue

pytestmark = pytest.mark.timeout(120)  # what goes wrong here hangs


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(metric_queue, "_RETRY_SECONDS", 0.02)


class Store:
    """Takes metrics, or does not."""

    def __init__(self):
        self.taken, self.refusals, self.open = [], 0, threading.Event()
        self.open.set()

    def send(self, metrics):
        assert len(metrics) <= 100
        if not self.open.is_set():
            self.refusals += 1
            raise ConnectionError("refused\nat some port")
        self.taken += metrics


def metrics(count, start=0):
    return [Metric("loss", float(i), 7, i) for i in range(start, start + count)]


def test_all_metrics_arrive_once_and_in_order():
    store = Store()
    sent = MetricQueue(store.send, print)
    for start in range(0, 1000, 50):
        sent.put(metrics(50, start))
    sent.finish(60)
    assert [metric.step for metric in store.taken] == list(range(1000))


def test_while_the_store_is_away_nobody_waits_and_later_all_of_it_arrives_once():
    store, warnings = Store(), []
    sent = MetricQueue(store.send, warnings.append)
    sent.put(metrics(3))
    sent.finish(60)
    store.open.clear()
    sent.put(metrics(150, 3))
    while store.refusals < 3:
        time.sleep(0.01)
    sent.put(metrics(2, 153))
    assert warnings == ["warning: MLflow does not accept metrics (refused); they are sent later"]
    store.open.set()
    sent.finish(60)
    assert [metric.step for metric in store.taken] == list(range(155))
    assert warnings[1:] == ["MLflow accepts metrics again"]


def test_a_store_that_hangs_holds_up_neither_put_nor_the_end_beyond_its_bound():
    hung = threading.Event()
    sent = MetricQueue(lambda _: hung.wait(), print)
    sent.put(metrics(1))
    sent.put(metrics(1, 1))
    with pytest.raises(TrackingError, match=r"did not take 2 metrics within 0\.2 s .* \(no answer\)"):
        sent.finish(0.2)
    hung.set()


def test_the_error_at_the_end_says_what_the_store_said():
    store = Store()
    store.open.clear()
    sent = MetricQueue(store.send, lambda _: None)
    sent.put(metrics(1))
    while store.refusals < 2:  # what came of the first is known then
        time.sleep(0.01)
    with pytest.raises(TrackingError, match=r"\(refused\); fix it, and continue with --resume"):
        sent.finish(0.1)
