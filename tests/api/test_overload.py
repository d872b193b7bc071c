"""Streams under load: who writes or reads badly costs itself, never another.

Bounded by bytes and by the containers' own ends; what is asserted is that others are answered, and their every byte.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from corten.api.stream import STDOUT
from tests.api.test_streams import Raw, container, raw
from tests.harness.engine import EngineProcess

pytestmark = pytest.mark.root

LIMITED = {"NetworkMode": "none", "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}}
NUMBERS = b"".join(b"%d\n" % n for n in range(1, 100_001))


def attach(client: Raw, identifier: str) -> None:
    client.send("POST", f"/containers/{identifier}/attach?stream=1&stdout=1&stderr=1", upgrade=True)
    assert client.head().startswith("HTTP/1.1 101")


def is_whole(engine: EngineProcess) -> None:
    """A container that is born, prints and ends while others make noise."""
    with container(engine, "seq", "100000") as identifier, raw(engine) as client:
        attach(client, identifier)
        engine.api("POST", f"/containers/{identifier}/start")
        assert client.frames()[STDOUT] == NUMBERS
        assert engine.api("POST", f"/containers/{identifier}/wait")["StatusCode"] == 0
        assert engine.docker("logs", identifier).stdout.encode() == NUMBERS


def test_a_container_that_writes_without_end_costs_nobody_a_byte(engine: EngineProcess) -> None:
    with container(engine, "yes", HostConfig=LIMITED) as noisy, raw(engine) as follower:
        engine.api("POST", f"/containers/{noisy}/start")
        follower.send("GET", f"/containers/{noisy}/logs?follow=1&stdout=1")  # and is never read
        for _ in range(2):
            is_whole(engine)
            assert engine.api("GET", f"/containers/{noisy}/json")["State"]["Running"] is True
        assert engine.docker("logs", "--tail", "3", noisy).stdout == "y\n" * 3
        engine.api("POST", f"/containers/{noisy}/kill")
        assert engine.api("POST", f"/containers/{noisy}/wait")["StatusCode"] == 137


def test_an_attached_client_that_does_not_read_holds_its_own_container_only(engine: EngineProcess) -> None:
    with container(engine, "seq", "1000000") as held, raw(engine) as deaf:
        attach(deaf, held)
        engine.api("POST", f"/containers/{held}/start")
        is_whole(engine)
        assert engine.api("GET", f"/containers/{held}/json")["State"]["Running"] is True
        got = deaf.frames()[STDOUT]  # now it reads, and has missed nothing
        assert got.count(b"\n") == 1_000_000
        assert got.endswith(b"\n1000000\n")
        assert engine.api("POST", f"/containers/{held}/wait")["StatusCode"] == 0


def test_many_slow_readers_of_logs_and_events(engine: EngineProcess) -> None:
    with container(engine, "sh", "-c", "seq 200000; sleep 60") as busy, ExitStack() as opened:
        engine.api("POST", f"/containers/{busy}/start")
        clients = [opened.enter_context(raw(engine)) for _ in range(40)]
        for number, client in enumerate(clients):
            client.send("GET", (f"/containers/{busy}/logs?stdout=1&follow={number % 2}", "/events")[number % 4 == 3])
            client.head()
        is_whole(engine)
        answers: list[int] = []
        askers = [
            threading.Thread(target=lambda: answers.append(engine.request("GET", "/containers/json?all=1")[0]))
            for _ in range(20)
        ]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        assert answers == [200] * 20
        client = clients[1]  # one of them reads after all, to the last line
        data = b""
        while b"200000\n" not in data[-200:]:
            piece = client.socket.recv(1 << 20)
            assert piece
            data += piece


def test_a_log_replayed_to_clients_that_do_not_read_holds_nothing(engine: EngineProcess) -> None:
    with container(engine, "sh", "-c", "seq 300000; sleep 60") as busy, ExitStack() as opened:
        engine.api("POST", f"/containers/{busy}/start")
        while engine.docker("logs", "--tail", "1", busy).stdout != "300000\n":
            pass
        for _ in range(12):
            deaf = opened.enter_context(raw(engine))
            deaf.send("POST", f"/containers/{busy}/attach?logs=1&stream=1&stdout=1&stderr=1", upgrade=True)
            deaf.head()
        is_whole(engine)
        engine.api("POST", f"/containers/{busy}/kill")
        assert engine.api("POST", f"/containers/{busy}/wait")["StatusCode"] == 137
        data = deaf.rest()  # one that reads after all gets the whole log
        assert data.count(b"\n") == 300_000
