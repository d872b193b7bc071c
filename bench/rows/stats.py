"""What it costs an engine to show the statistics of many running containers, as ``docker stats`` asks for them.

Both engines run the same containers and have one stream open for each, both at once; a round is the processor time of
all processes of either over the same seconds.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.api import Api
from bench.measure import Row
from bench.peers import Pair, cpu_seconds

CONTAINERS = int(os.environ.get("CORTEN_BENCH_STATS", "100"))
ROUNDS = 4
SECONDS = 5.0
SETTLE = 3.0


class Reader:
    """Reads every stream it is given in one thread and counts the samples."""

    def __init__(self) -> None:
        self.samples = 0
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._read, daemon=True)

    def open(self, path: Path, identifier: str) -> None:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(path))
        connection.sendall(f"GET /containers/{identifier}/stats?stream=1 HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        self._selector.register(connection, selectors.EVENT_READ)
        self._sockets.append(connection)

    def start(self) -> None:
        self._thread.start()

    def _read(self) -> None:
        while self._selector.get_map():
            for key, _ in self._selector.select(0.5):
                assert isinstance(key.fileobj, socket.socket)
                data = key.fileobj.recv(1 << 16)
                self.samples += data.count(b'"read":')
                if not data:
                    self._selector.unregister(key.fileobj)

    def close(self) -> None:
        for connection in self._sockets:
            connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for connection in self._sockets:
            connection.close()


def stats(pair: Pair) -> Iterator[Row]:
    """The row; a sample that did not come would be a saving, so samples are counted."""
    roots = {"corten": pair.engine.root, "docker": pair.dockerd.root}
    sockets = {"corten": pair.engine.socket, "docker": pair.dockerd.socket}
    costs: dict[str, list[float]] = {side: [] for side in roots}
    with ExitStack() as stack:
        readers = {side: Reader() for side in roots}
        for side, path in sockets.items():
            api = Api(str(path))
            stack.callback(api.close)
            for _ in range(CONTAINERS):
                identifier = api.run(["sleep", "3600"], {"NetworkMode": "none"})
                stack.callback(api.call, "DELETE", f"/containers/{identifier}?force=1")
                readers[side].open(path, identifier)
            readers[side].start()
            stack.callback(readers[side].close)
        time.sleep(SETTLE)
        for _ in range(ROUNDS):
            before = {side: (readers[side].samples, cpu_seconds(root)) for side, root in roots.items()}
            time.sleep(SECONDS)
            for side, root in roots.items():
                samples, spent = before[side]
                seen = readers[side].samples - samples
                assert seen > CONTAINERS * SECONDS * 0.5, f"{side}: {seen} samples in {SECONDS} s"
                costs[side].append((cpu_seconds(root) - spent) / seen * 1000)
    note = f"{CONTAINERS} containers, a sample a second of each"
    yield Row("CPU of one sample of stats", "corten", "docker", 0.5, "ms", costs, note)
