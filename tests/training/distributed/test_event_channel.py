"""Events from the ranks to the driver, over real sockets."""

import json
import pickle
import re
import socket
import threading
import time
from dataclasses import replace
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener

import pytest

from convoy.errors import ClusterError
from convoy.training.distributed import event_channel
from convoy.training.distributed.event_channel import Address, EventServer
from convoy.training.events import Alive, CheckpointSaved, Epoch, Resumed, System, encode

HOST = "127.0.0.1"
pytestmark = pytest.mark.timeout(120)  # what goes wrong here hangs


@pytest.fixture
def events():
    return []


@pytest.fixture
def receiver(events):
    receiver = EventServer(HOST, HOST, events.append)
    yield receiver
    receiver.close()


def in_thread(work, seconds=60):
    """Run what must not hang; return whether it ended."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def send(address, sender, count=1):
    connection = address.connect()
    for number in range(count):
        connection.send(System(sender, {"number": number}))
    connection.close()


def test_all_events_of_all_senders_arrive_in_order_before_close_returns(events, receiver):
    threads = [threading.Thread(target=send, args=(receiver.address, name, 500)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    receiver.close()
    arrived = list(events)
    for name in range(8):
        assert [event.metrics["number"] for event in arrived if event.rank == name] == list(range(500))


def test_nothing_is_lost_however_soon_the_driver_closes():
    for attempt in range(100):
        events = []
        receiver = EventServer(HOST, HOST, events.append)
        send(receiver.address, attempt, 3)
        receiver.close()
        assert events == [System(attempt, {"number": number}) for number in range(3)]


def test_slow_handler_sees_one_event_at_a_time_and_all_of_them():
    running, most, seen = 0, 0, []

    def handle(event):
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.002)
        seen.append(event)
        running -= 1

    receiver = EventServer(HOST, HOST, handle)
    threads = [threading.Thread(target=send, args=(receiver.address, name, 20)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    receiver.close()
    assert most == 1
    assert len(seen) == 80


def test_values_arrive_as_they_were_sent(events, receiver):
    event = Resumed(2, 3, (Epoch(1, 2, 0.1 + 0.2, {"ü\n犬": 2.5}),))
    sender = pickle.loads(pickle.dumps(receiver.address)).connect()  # as it travels to a rank
    sender.send(event)
    sender.close()
    receiver.close()
    assert events == [event]


def test_wrong_key_is_refused_and_does_no_harm(events, receiver):
    early = receiver.address.connect()
    with pytest.raises((AuthenticationError, OSError)):
        replace(receiver.address, key=b"x" * 32).connect()
    send(receiver.address, 2)
    early.send(System(1, {}))
    early.close()
    receiver.close()
    assert sorted(event.rank for event in events) == [1, 2]


def test_stranger_that_speaks_another_protocol_does_no_harm(events, receiver):
    with socket.create_connection((HOST, receiver.address.port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\nHost: driver\r\n\r\n")
        send(receiver.address, 7)
    receiver.close()
    assert [event.rank for event in events] == [7]


def test_stranger_that_says_nothing_holds_nobody_up(events, monkeypatch):
    receiver = EventServer(HOST, HOST, events.append)
    with socket.create_connection((HOST, receiver.address.port)):
        assert in_thread(lambda: send(receiver.address, 7))
        while not events:
            time.sleep(0.01)
        monkeypatch.setattr(event_channel, "_LAST_WORDS_SECONDS", 0.5)
        assert in_thread(receiver.close)
    assert [event.rank for event in events] == [7]


def test_message_with_no_json_does_no_harm_to_others(events, receiver):
    good = receiver.address.connect()
    bad = Client((HOST, receiver.address.port), authkey=receiver.address.key)
    bad.send_bytes(b"\x80\x04no json")
    good.send(Alive())
    bad.close()
    good.close()
    receiver.close()
    assert events == [Alive()]


def test_failure_of_the_handler_reaches_the_driver():
    def handle(event):
        raise RuntimeError("the tracking server is gone")

    stopped = []
    receiver = EventServer(HOST, HOST, handle, on_failure=lambda: stopped.append(True))
    send(receiver.address, 7, count=3)
    with pytest.raises(RuntimeError, match="the tracking server is gone"):
        receiver.close()
    assert stopped == [True]


@pytest.mark.parametrize("message", [b'{"type": "lap"}', b'{"type": "alive", "since": 1}', b'{"type": "step"}', b"[1]"])
def test_an_event_of_another_version_stops_the_training_with_its_name(events, message):
    stopped = threading.Event()
    receiver = EventServer(HOST, HOST, events.append, on_failure=stopped.set)
    with Client((HOST, receiver.address.port), authkey=receiver.address.key) as rank:
        rank.send_bytes(message)
        assert stopped.wait(60)
        rank.send_bytes(encode(Alive()))
    kind = json.loads(message)["type"] if message[:1] == b"{" else "[1]"
    with pytest.raises(ClusterError, match=rf"another version of Convoy .*{re.escape(kind)}.* on the executors"):
        receiver.close()
    assert events == []


def test_rank_does_not_mind_a_driver_that_has_gone_away():
    with Listener((HOST, 0), authkey=b"key") as listener:
        accepted = []
        thread = threading.Thread(target=lambda: accepted.append(listener.accept()))
        thread.start()
        sender = Address(HOST, listener.address[1], b"key").connect()
        thread.join()
        accepted[0].close()
    for number in range(100):
        sender.send(CheckpointSaved(number))
    sender.close()


def test_nobody_is_let_in_after_close(receiver):
    receiver.close()
    with pytest.raises(ClusterError, match=rf"reach the driver at {HOST}:{receiver.address.port} \(Connection refused"):
        receiver.address.connect()


def test_key_is_secret_and_new_each_time(receiver):
    other = EventServer(HOST, HOST, print)
    other.close()
    assert other.address.key != receiver.address.key
    assert len(receiver.address.key) >= 16
    assert repr(receiver.address.key) not in repr(receiver.address)


def test_who_waits_learns_that_the_driver_has_hung_up(events, receiver):
    early = receiver.address.connect()
    early.send(CheckpointSaved(1))
    assert not in_thread(early.wait, 0.2)
    receiver.hang_up()
    assert in_thread(early.wait)
    late = receiver.address.connect()
    assert in_thread(late.wait)
    late.send(CheckpointSaved(2))
    receiver.close()
    assert events == [CheckpointSaved(1)]


def test_the_driver_may_hang_up_while_it_handles_an_event():
    handled = []

    def handle(event):
        handled.append(event)
        receiver.hang_up()
        raise RuntimeError("enough")

    receiver = EventServer(HOST, HOST, handle)
    sender = receiver.address.connect()
    sender.send(CheckpointSaved(1))
    assert in_thread(sender.wait)
    with pytest.raises(RuntimeError, match="enough"):
        receiver.close()
    assert len(handled) == 1
