"""The client against a server of bytes: framing, errors, kept connections, hijacked streams."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.client import endpoint
from corten.client.errors import Disconnected, InvalidHost, ResponseError, Unreachable
from corten.client.transport import Client, query_string

PING = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 0\r\n\r\n"


class Server(threading.Thread):
    """Answers each connection's requests with the scripted bytes, in order; keeps what it was asked."""

    def __init__(self, path: Path, connections: list[list[bytes]]) -> None:
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.connections = connections
        self.requests: list[bytes] = []

    def run(self) -> None:
        for answers in self.connections:
            connection, _ = self.listener.accept()
            with connection:
                for answer in answers:
                    request = connection.recv(65536)
                    while b"\r\n\r\n" not in request or not whole(request):
                        request += connection.recv(65536)
                    self.requests.append(request)
                    connection.sendall(answer)


def whole(request: bytes) -> bool:
    """Whether a chunked body, if there is one, has come in to its end."""
    return b"Transfer-Encoding: chunked" not in request or request.endswith(b"\r\n0\r\n\r\n")


@pytest.fixture
def serve(tmp_path) -> Iterator:
    servers = []
    clients = []

    def start(*connections: list[bytes], version: str = "1.41"):
        server = Server(tmp_path / "s", list(connections))
        server.start()
        servers.append(server)
        clients.append(Client(endpoint.parse(f"unix://{tmp_path}/s"), version=version))
        return clients[-1], server

    yield start
    for client in clients:
        client.close()
    for server in servers:
        server.join(5)
        server.listener.close()


def answer(body: bytes, head: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body)


def test_negotiates_down_and_keeps_the_connection(serve):
    client, server = serve([PING, answer(b'{"a":1}'), answer(b"[]")], version="")
    assert client.get("/info") == {"a": 1}
    assert client.get("/x", {"all": "1", "empty": "", "n": ["a b", "c&"]}) == []
    lines = [request.split(b"\r\n")[0] for request in server.requests]
    assert lines == [
        b"HEAD /_ping HTTP/1.1",
        b"GET /v1.41/info HTTP/1.1",
        b"GET /v1.41/x?all=1&n=a%20b&n=c%26 HTTP/1.1",
    ]


def test_chunked_body_in_pieces_and_trailers(serve):
    client, _ = serve(
        [
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n{"a\r\n5\r\n":[1]\r\n1\r\n}\r\n0\r\nT: v\r\n\r\n'
        ]
    )
    assert client.get("/x") == {"a": [1]}


def test_stream_of_documents_cut_anywhere(serve):
    body = b'{"n":1}\r\n\r\n{"n":2}\n{"n":3}'
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, body[at : at + 1]) for at in range(len(body)))
    client, _ = serve([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"])
    assert [document["n"] for document in client.documents("POST", "/x")] == [1, 2, 3]


def test_errors_carry_the_engines_text(serve):
    client, _ = serve([answer(b'{"message":"No such container: x"}\n', b"404 Not Found"), answer(b"plain", b"500 No")])
    with pytest.raises(ResponseError, match=r"^Error response from daemon: No such container: x$") as refusal:
        client.get("/x")
    assert refusal.value.status == 404
    with pytest.raises(ResponseError, match=r"^Error response from daemon: plain$"):
        client.get("/x")


def test_a_closed_idle_connection_is_replaced(serve):
    client, server = serve([answer(b"1")], [answer(b"2")])
    assert client.get("/x") == 1
    while client._idle is not None and client._idle.is_open():
        pass
    assert client.call("POST", "/x", {}, {"b": "é"}) == 2
    assert server.requests[1].endswith('{"b":"é"}'.encode())


def test_a_broken_post_is_not_sent_twice(serve):
    client, server = serve([answer(b"1"), b""], [answer(b"2")])
    assert client.get("/x") == 1
    with pytest.raises(Disconnected):
        client.call("POST", "/containers/create", {}, {})
    assert len(server.requests) == 2
    assert client.get("/y") == 2


def test_hijack_keeps_the_bytes_that_came_with_the_head(serve):
    head = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
    client, server = serve([head + b"early", b""])
    stream = client.hijack("/containers/x/attach", {"stream": "1"})
    early = stream.early
    stream.socket.sendall(b"in\r\n\r\n")
    while piece := stream.socket.recv(100):
        early += piece
    stream.socket.close()
    assert early == b"early"
    assert stream.content_type == "application/vnd.docker.raw-stream"
    assert b"Upgrade: tcp" in server.requests[0]
    assert server.requests[1] == b"in\r\n\r\n"


def test_refused_hijack_is_a_plain_error(serve):
    client, _ = serve([answer(b'{"message":"no"}', b"409 Conflict")])
    with pytest.raises(ResponseError, match="no"):
        client.hijack("/exec/x/start", {}, {"Tty": False})


def test_uploads_are_chunked(serve):
    client, server = serve([answer(b"{}")])
    client.call("POST", "/images/load", {}, iter([b"abc", b"", b"de"]))
    assert server.requests[0].endswith(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")


def test_nothing_there(tmp_path):
    client = Client(endpoint.parse(f"unix://{tmp_path}/none"))
    with pytest.raises(Unreachable, match=rf"^Cannot connect to the Corten engine at unix://{tmp_path}/none\. "):
        client.get("/x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unix:///run/x.sock", ("/run/x.sock", "", 0, "")),
        ("/run/x.sock", ("/run/x.sock", "", 0, "")),
        ("tcp://h:1", ("", "h", 1, "")),
        ("h:1", ("", "h", 1, "")),
        ("tcp://[::1]:5/base/", ("", "::1", 5, "/base")),
        ("tcp://", ("", "localhost", 2375, "")),
    ],
)
def test_endpoints(text, expected):
    found = endpoint.parse(text)
    assert (found.path, found.host, found.port, found.base) == expected


def test_tls_has_a_port_of_its_own():
    tls = endpoint.TlsFiles(ca="", certificate="", key="", verify=True)
    assert endpoint.parse("tcp://h", tls).port == 2376


@pytest.mark.parametrize("text", ["unix://", "ssh://u@h", "ftp://h", "tcp://::1", "tcp://h:99999", "tcp://h:x"])
def test_no_endpoints(text):
    with pytest.raises(InvalidHost):
        endpoint.parse(text)


def test_bytes_of_an_argument_that_is_no_utf8_survive():
    assert query_string({"n": b"\xff/".decode("utf-8", "surrogateescape")}) == "?n=%FF%2F"
