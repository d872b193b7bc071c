"""``attach/ws`` on a real engine, spoken to in frames."""

from __future__ import annotations

import socket
import struct

import pytest

from corten.server.websocket import BINARY, CLOSE, PING, PONG, TEXT
from tests.api.test_streams import Raw, container, raw
from tests.harness.engine import EngineProcess

pytestmark = pytest.mark.root

STDIN = {"OpenStdin": True, "StdinOnce": True}
ALL = "stream=1&stdin=1&stdout=1&stderr=1"


class WebSocket(Raw):
    """A client of RFC 6455, as small as it can be."""

    def open(self, path: str, *headers: str) -> str:
        lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket",
                 "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *headers]  # fmt: skip
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        head = self.head()
        self._buffer, self._rest = self._rest, b""
        return head

    def say(self, opcode: int, payload: bytes = b"", *, final: bool = True) -> None:
        masked = bytes(byte ^ b"mask"[i % 4] for i, byte in enumerate(payload))
        size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + struct.pack("!H", len(payload))
        self.socket.sendall(bytes((opcode | 0x80 * final,)) + size + b"mask" + masked)

    def hear(self) -> tuple[int, bytes]:
        head = self._take(2)
        size = head[1]
        if size > 125:
            size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
        return head[0] & 0x0F, self._take(size)

    def until(self, opcode: int) -> tuple[bytes, bytes]:
        """What data frames carried before the one of ``opcode``, and its payload."""
        data = b""
        while (found := self.hear())[0] != opcode:
            data += found[1]
        return data, found[1]

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            piece = self.socket.recv(65536)
            assert piece, f"the connection ended after {self._buffer!r}"
            self._buffer += piece
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


@pytest.fixture
def client(engine: EngineProcess):
    made = WebSocket(engine)
    yield made
    made.socket.close()


@pytest.mark.parametrize(("version", "kind"), [("1.27", TEXT), ("1.28", BINARY), ("1.47", BINARY)])
def test_output_comes_in_frames_and_ends_with_a_goodbye(
    engine: EngineProcess, client: WebSocket, version: str, kind: int
) -> None:
    with container(engine, "sh", "-c", "echo out; echo err >&2") as identifier:
        head = client.open(f"/v{version}/containers/{identifier}/attach/ws?{ALL}")
        assert head.startswith("HTTP/1.1 101 Switching Protocols\r\n")
        assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        engine.api("POST", f"/containers/{identifier}/start")
        opcode, first = client.hear()
        assert opcode == kind
        rest, code = client.until(CLOSE)
        assert sorted((first + rest).splitlines()) == [b"err", b"out"]
        assert code == struct.pack("!H", 1000)


def test_input_pings_and_the_end_of_input(engine: EngineProcess, client: WebSocket) -> None:
    with container(engine, "sh", "-c", "head -n 2; echo bye", **STDIN) as identifier:
        engine.api("POST", f"/containers/{identifier}/start")
        client.open(f"/containers/{identifier}/attach/ws?{ALL}")
        client.say(TEXT, b"one\ntw", final=False)
        client.say(PING, b"there?")
        client.say(0, b"o\n")
        data, answer = client.until(PONG)
        assert answer == b"there?"
        rest, _ = client.until(CLOSE)
        assert data + rest == b"one\ntwo\nbye\n"


def test_a_closed_client_is_the_end_of_stdin(engine: EngineProcess, client: WebSocket) -> None:
    with container(engine, "sh", "-c", "cat >/dev/null; echo done", **STDIN) as identifier:
        engine.api("POST", f"/containers/{identifier}/start")
        client.open(f"/containers/{identifier}/attach/ws?{ALL}")
        client.say(BINARY, b"x" * 1000)
        client.say(CLOSE, struct.pack("!H", 1001) + b"leaving")
        assert client.until(CLOSE) == (b"", struct.pack("!H", 1001))
        assert client.socket.recv(1) == b""
        assert engine.api("POST", f"/containers/{identifier}/wait")["StatusCode"] == 0
        assert engine.docker("logs", identifier).stdout == "done\n"


def test_a_broken_frame_ends_the_connection_and_nothing_else(engine: EngineProcess, client: WebSocket) -> None:
    with container(engine, "sleep", "60") as identifier:
        engine.api("POST", f"/containers/{identifier}/start")
        client.open(f"/containers/{identifier}/attach/ws?{ALL}")
        client.socket.sendall(b"\x82\x01x")  # not masked
        assert client.until(CLOSE)[1] == struct.pack("!H", 1002)
        assert engine.api("GET", f"/containers/{identifier}/json")["State"]["Running"] is True


def test_logs_come_first_and_flags_count_since_1_42(engine: EngineProcess, client: WebSocket) -> None:
    with container(engine, "sh", "-c", "echo out; echo err >&2") as identifier:
        engine.api("POST", f"/containers/{identifier}/start")
        engine.api("POST", f"/containers/{identifier}/wait")
        client.open(f"/v1.42/containers/{identifier}/attach/ws?logs=1&stderr=1")
        assert client.until(CLOSE)[0] == b"err\n"
        older = WebSocket(engine)
        older.open(f"/v1.41/containers/{identifier}/attach/ws?logs=1&stderr=1")
        assert sorted(older.until(CLOSE)[0].splitlines()) == [b"err", b"out"]
        older.socket.close()


def test_large_output_through_a_slow_client_is_whole(engine: EngineProcess, client: WebSocket) -> None:
    with container(engine, "seq", "300000") as identifier:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.open(f"/containers/{identifier}/attach/ws?{ALL}")
        engine.api("POST", f"/containers/{identifier}/start")
        assert client.until(CLOSE)[0] == b"".join(b"%d\n" % n for n in range(1, 300001))


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ((), 400, "not websocket protocol"),
        (("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 12"), 400, "missing or bad WebSocket Version"),
        (
            ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Origin: http://evil.example",
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
            403, "may not attach",
        ),
    ],
)  # fmt: skip
def test_what_is_no_handshake_is_a_plain_error(
    engine: EngineProcess, headers: tuple[str, ...], status: int, text: str
) -> None:
    with container(engine, "true") as identifier, raw(engine) as client:
        lines = [f"GET /containers/{identifier}/attach/ws?{ALL} HTTP/1.1", "Host: x", *headers]
        client.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        head = client.head()
        assert head.startswith(f"HTTP/1.1 {status} ")
        client.socket.shutdown(socket.SHUT_WR)
        assert text in client.rest().decode()
        assert ("Sec-WebSocket-Version: 13" in head) is ("Version" in text)


def test_an_unknown_container_is_told_before_the_handshake(engine: EngineProcess, client: WebSocket) -> None:
    assert client.open("/containers/nothing/attach/ws").startswith("HTTP/1.1 404")
