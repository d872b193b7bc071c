"""The Engine API over one kept-alive connection: what a row uses when a command line would be most of its time."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any, BinaryIO

#: An engine that is silent for so long does not answer any more: that is a failure, not a reason to wait.
SILENCE = 120.0


class Api:
    """A kept-alive connection to an engine; TimeoutError when it is silent for SILENCE seconds."""

    def __init__(self, path: str) -> None:
        self.connection = http.client.HTTPConnection("localhost")
        self.connection.sock = socket.socket(socket.AF_UNIX)
        self.connection.sock.settimeout(SILENCE)
        self.connection.sock.connect(path)

    def call(self, method: str, path: str, body: object = None, *, raw: bool = False) -> Any:
        """The decoded answer, or with ``raw`` its bytes; an AssertionError names what was refused."""
        payload = json.dumps(body).encode() if body is not None else None
        self.connection.request(method, path, payload, {"Content-Type": "application/json"} if payload else {})
        response = self.connection.getresponse()
        content = response.read()
        assert response.status < 400, f"{method} {path}: {response.status} {content!r}"
        return content if raw else json.loads(content) if content else {}

    def send(self, method: str, path: str, body: BinaryIO) -> None:
        """A request with a tar as its body; the answer's progress is dropped."""
        self.connection.request(method, path, body, {"Content-Type": "application/x-tar"}, encode_chunked=True)
        response = self.connection.getresponse()
        content = response.read()
        assert response.status < 400, content

    def run(self, command: list[str], host: dict[str, Any]) -> str:
        """Create and start a container of the image busybox; its id."""
        identifier: str = self.call(
            "POST", "/containers/create", {"Image": "busybox", "Cmd": command, "HostConfig": host}
        )["Id"]
        self.call("POST", f"/containers/{identifier}/start")
        return identifier

    def close(self) -> None:
        """End the connection."""
        self.connection.close()
