"""Attach, exec, logs, wait and events on the wire of a real engine, byte by byte."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from corten.api.stream import STDERR, STDOUT, Demultiplexer
from tests.harness.engine import EngineProcess

pytestmark = pytest.mark.root


class Raw:
    """A client without a library: nothing between the test and the bytes."""

    def __init__(self, engine: EngineProcess) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(engine.socket))
        self._rest = b""

    def send(self, method: str, path: str, body: bytes = b"", *, upgrade: bool = False, more: bytes = b"") -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        if body:
            lines.append("Content-Type: application/json")
        if upgrade:
            lines += ["Connection: Upgrade", "Upgrade: tcp"]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + body + more)

    def head(self) -> str:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.socket.recv(4096)
            assert piece, f"the connection ended after {data!r}"
            data += piece
        found, _, self._rest = data.partition(b"\r\n\r\n")
        return found.decode()

    def rest(self) -> bytes:
        data, self._rest = self._rest, b""
        while piece := self.socket.recv(65536):
            data += piece
        return data

    def frames(self) -> dict[int, bytes]:
        """Everything until the end, by stream."""
        reader, found = Demultiplexer(), {STDOUT: b"", STDERR: b""}
        for stream, payload in reader.feed(self.rest()):
            found[stream] += payload
        assert reader.pending == 0
        return found


@contextmanager
def raw(engine: EngineProcess) -> Iterator[Raw]:
    client = Raw(engine)
    try:
        yield client
    finally:
        client.socket.close()


@contextmanager
def container(engine: EngineProcess, *command: str, **config: object) -> Iterator[str]:
    """A created container, removed at the end."""
    body = {"Image": "busybox", "Cmd": list(command), "HostConfig": {"NetworkMode": "none"}, **config}
    identifier = engine.api("POST", "/containers/create", body)["Id"]
    try:
        yield identifier
    finally:
        engine.request("DELETE", f"/containers/{identifier}?force=1")


STDIN = {"OpenStdin": True, "StdinOnce": True, "AttachStdin": True}


@pytest.mark.parametrize("upgrade", [True, False])
def test_input_sent_with_the_head_reaches_the_container(engine, upgrade):
    with (
        container(engine, "sh", "-c", "cat; echo afterwards; echo aside >&2", **STDIN) as identifier,
        raw(engine) as client,
    ):
        client.send("POST", f"/v1.50/containers/{identifier}/attach?stream=1&stdin=1&stdout=1&stderr=1",
                    upgrade=upgrade, more=b"sent with the head\n")  # fmt: skip
        head = client.head()
        assert head.startswith("HTTP/1.1 101 UPGRADED\r\n" if upgrade else "HTTP/1.1 200 OK\r\n")
        assert "Content-Type: application/vnd.docker.multiplexed-stream" in head
        engine.api("POST", f"/containers/{identifier}/start")
        client.socket.sendall(b"sent later\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.frames() == {STDOUT: b"sent with the head\nsent later\nafterwards\n", STDERR: b"aside\n"}


def test_an_exec_gets_its_early_input_and_its_half_close(engine):
    payload = b"".join(b"%d\n" % number for number in range(50_000))
    with container(engine, "sleep", "60") as identifier:
        engine.api("POST", f"/containers/{identifier}/start")
        body = {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True, "AttachStderr": True}
        exec_id = engine.api("POST", f"/containers/{identifier}/exec", body)["Id"]
        with raw(engine) as client:
            client.send("POST", f"/exec/{exec_id}/start", b"{}", upgrade=True, more=payload[:4000])
            client.head()
            client.socket.sendall(payload[4000:])
            client.socket.shutdown(socket.SHUT_WR)
            assert client.frames()[STDOUT] == payload
        assert engine.api("GET", f"/exec/{exec_id}/json")["ExitCode"] == 0


def test_a_slow_client_reads_the_head_of_an_exec_alone(engine):
    """docker-py loses what it reads together with the head: see server/connection.py."""
    with container(engine, "sleep", "60") as identifier:
        engine.api("POST", f"/containers/{identifier}/start")
        body = {"Cmd": ["echo", "at once"], "AttachStdout": True}
        exec_id = engine.api("POST", f"/containers/{identifier}/exec", body)["Id"]
        with raw(engine) as client:
            client.send("POST", f"/exec/{exec_id}/start", b"{}", upgrade=True)
            time.sleep(0.3)
            assert client.socket.recv(65536).endswith(b"\r\n\r\n")
            assert client.frames()[STDOUT] == b"at once\n"


def test_a_refused_attach_is_a_plain_error(engine):
    with raw(engine) as client:
        client.send("POST", "/containers/nothing/attach?stream=1", upgrade=True)
        assert client.head().startswith("HTTP/1.1 404")


def test_wait_answers_its_head_before_the_start(engine):
    with container(engine, "sh", "-c", "exit 7") as identifier, raw(engine) as client:
        client.send("POST", f"/containers/{identifier}/wait?condition=next-exit")
        assert client.head().startswith("HTTP/1.1 200 OK")
        engine.api("POST", f"/containers/{identifier}/start")
        client.socket.shutdown(socket.SHUT_WR)
        assert b'{"StatusCode":7}' in client.rest()


def test_logs_follow_to_the_end(engine):
    with container(engine, "sh", "-c", "echo one; sleep 0.2; echo two >&2") as identifier, raw(engine) as client:
        engine.api("POST", f"/containers/{identifier}/start")
        client.send("GET", f"/containers/{identifier}/logs?stdout=1&stderr=1&follow=1")
        assert "multiplexed-stream" in client.head()
        client.socket.shutdown(socket.SHUT_WR)
        wire = client.rest()
        assert wire.endswith(b"0\r\n\r\n")
        assert b"\x01\0\0\0\0\0\0\x04one\n" in wire
        assert b"\x02\0\0\0\0\0\0\x04two\n" in wire


def test_events_tell_a_life(engine):
    with raw(engine) as client:
        client.send("GET", '/events?filters={"type":["container"]}')
        client.head()
        with container(engine, "true") as identifier:
            engine.api("POST", f"/containers/{identifier}/start")
            engine.api("POST", f"/containers/{identifier}/wait")
        seen = b""
        deadline = time.monotonic() + 10
        while b'"Action":"destroy"' not in seen and time.monotonic() < deadline:
            seen += client.socket.recv(65536)
        order = [seen.find(b'"Action":"%b"' % word) for word in (b"create", b"start", b"die", b"destroy")]
        assert -1 not in order
        assert order == sorted(order)


def test_names_and_bodies_that_are_wrong_have_dockers_status(engine):
    with container(engine, "true", Labels=None) as identifier:
        for method, path, body, status in (
            ("POST", "/containers/create", {"Image": "nothing-here"}, 404),
            ("POST", "/containers/create?name=/", {"Image": "busybox"}, 400),
            ("POST", "/containers/create", {"Image": "busybox", "HostConfig": {"Memory": "1g"}}, 400),
            ("POST", f"/containers/{identifier}/kill", None, 409),
            ("POST", f"/containers/{identifier}/stop", None, 304),
            ("POST", f"/containers/{identifier}/resize?h=x&w=1", None, 400),
            ("GET", f"/containers/{identifier}/logs", None, 400),
            ("GET", '/containers/json?filters={"nonsense":["1"]}', None, 400),
            ("POST", f"/containers/{identifier}/wait?condition=never", None, 400),
            ("POST", f"/containers/{identifier}/pause", None, 409),
            ("DELETE", "/networks/bridge", None, 403),
            ("GET", "/volumes/nothing", None, 404),
        ):
            assert engine.request(method, path, body)[0] == status, (method, path)
