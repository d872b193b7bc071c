"""One attached client: a socket that came from the engine and belongs to the shim from then on.

Output is raw (a terminal, or an old client) or framed: an 8-byte header (stream 1 or 2, three zeros, length as 4 bytes
big-endian) before each chunk, as in Docker's attach. A client may lag by LIMIT bytes; then the container's output is
no longer read until the client has caught up, which is how dockerd behaves too (it blocks at 1 MB).

The end of a client is one of: the process ended and everything was sent (a graceful end: our side is shut down first,
because closing a unix socket with unread input would cost the peer the end of its output), the detach keys, or the
client left.
"""

from __future__ import annotations

import _socket
import os
import struct

from corten.shim.loop import HANGUP, READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.shim.loop import Loop
    from corten.shim.stdio import Streams

STDOUT: Final = 1
STDERR: Final = 2
LIMIT: Final = 1024 * 1024
_RESUME: Final = LIMIT // 4
_READ: Final = 65536
_LINGER: Final = 5.0
_HEADER: Final = struct.Struct("!BxxxI")


class DetachKeys:
    """Finds a key sequence in a stream; what might be its beginning is held back until it is decided."""

    __slots__ = ("_keys", "_matched")

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What is to be passed on, and whether the sequence is complete (what follows it is dropped)."""
        keys = self._keys
        if not self._matched and keys[0] not in data:
            return data, False
        passed = bytearray()
        for byte in data:
            if byte == keys[self._matched]:
                self._matched += 1
                if self._matched == len(keys):
                    return bytes(passed), True
                continue
            passed += keys[: self._matched]
            self._matched = int(byte == keys[0])
            if not self._matched:
                passed.append(byte)
        return bytes(passed), False


class Client:
    """States: attached -> ending (its output is being sent) -> lingering (shut down, waits for the peer) -> closed."""

    __slots__ = (
        "_descriptor",
        "_framed",
        "_input_over",
        "_keys",
        "_lag",
        "_loop",
        "_mask",
        "_queue",
        "_state",
        "_streams",
        "_wants",
        "reads_input",
    )

    def __init__(self, loop: Loop, descriptor: int, options: dict[str, Any], streams: Streams) -> None:
        """``options`` are the fields of an attach request; input counts only where the process has a stdin."""
        os.set_blocking(descriptor, False)
        self._loop = loop
        self._descriptor = descriptor
        self._framed = bool(options.get("framed")) and not streams.terminal
        self._wants = (STDOUT if options.get("stdout") else 0) | (STDERR if options.get("stderr") else 0)
        keys = bytes(options.get("detach_keys") or ())
        self._keys = DetachKeys(keys) if keys and streams.terminal else None
        self.reads_input = bool(options.get("stdin")) and streams.takes_input
        self._streams: Streams | None = streams
        self._queue: list[bytes] = []
        self._lag = 0
        self._input_over = False
        self._state = "attached"
        self._mask = -1
        self._watch()

    def lags(self) -> bool:
        """Whether the output of the container has to wait for this client."""
        return self._lag > LIMIT

    def put(self, stream: int, chunk: bytes) -> None:
        """Send or queue a chunk of output."""
        if not self._wants & stream or self._state != "attached":
            return
        parts = [_HEADER.pack(stream, len(chunk)), chunk] if self._framed else [chunk]
        total = sum(map(len, parts))
        if not self._queue:
            try:
                sent = os.writev(self._descriptor, parts)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._loop.soon(self.drop)  # not now: the caller walks over its clients
                return
            if sent == total:
                return
            total -= sent
            self._queue.append(b"".join(parts)[sent:])
        elif len(self._queue[-1]) < _READ:
            self._queue[-1] += b"".join(parts)
        else:
            self._queue.append(b"".join(parts))
        self._lag += total
        self._watch()

    def take(self, data: bytes) -> None:
        """Input from this client (also what the engine had read too early)."""
        streams = self._streams
        if streams is None or not self.reads_input:
            return
        detached = False
        if self._keys is not None:
            data, detached = self._keys.feed(data)
        if data:
            streams.input.feed(data)
        if detached:
            self.end()
            streams.on_detach()

    def ready(self, events: int) -> None:
        """Called by the loop."""
        if events & WRITE:
            self._flush()
        if self._descriptor < 0:
            return
        takes = self.reads_input and self._state == "attached"
        if self._mask & READ and (events & READ or takes):
            self._read()  # also on a hang-up alone: it may have been seen before input was wanted again
        elif events & HANGUP:
            if takes:
                self._unwatch()  # there may be input in the socket still: it is read when the process takes it
            else:
                self.drop()

    def refresh(self) -> None:
        """The process takes input again, or does not."""
        self._watch()

    def end(self) -> None:
        """Send what is queued, then the end of the stream, then close."""
        if self._state != "attached":
            return
        self._state = "ending"
        self._leave()
        if self._queue:
            self._watch()
        else:
            self._shut()

    def drop(self) -> None:
        """The client has left, or failed: close at once. Its leaving is the end of its input."""
        if self._descriptor < 0:
            return
        streams = self._streams
        attached, self._state = self._state == "attached", "closed"
        self._unwatch()
        os.close(self._descriptor)
        self._descriptor = -1
        self._queue, self._lag = [], 0
        if attached and streams is not None:
            self._leave()
            if self.reads_input:
                streams.end_input()

    def abandon(self) -> None:
        """Close our copy and nothing else: there was no process, and the engine goes on with its own copy."""
        self.reads_input = False
        self.drop()

    def _leave(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams.left(self)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _READ)
        except BlockingIOError:
            return
        except OSError:
            self.drop()
            return
        if self._state != "attached":
            if not data and self._queue:  # the end of its input only: it still reads
                self._input_over = True
                self._watch()
            elif not data:
                self.drop()
        elif data:
            self.take(data)
        else:
            self._input_ended()

    def _input_ended(self) -> None:
        """Half-close. Docker passes it on to a stdin that is attached once; else, and with a terminal, it detaches."""
        streams = self._streams
        self.reads_input = False
        if streams is None:
            return
        if streams.terminal or not streams.stdin_once:
            self.end()
        else:
            self._watch()
            streams.end_input()

    def _flush(self) -> None:
        try:
            while self._queue:
                sent = os.writev(self._descriptor, self._queue[:16])
                self._lag -= sent
                while self._queue and sent >= len(self._queue[0]):
                    sent -= len(self._queue.pop(0))
                if sent:
                    self._queue[0] = self._queue[0][sent:]
        except BlockingIOError:
            pass
        except OSError:
            self.drop()
            return
        if not self._queue and self._state == "ending":
            self._shut()
            return
        self._watch()
        if self._streams is not None and self._lag <= _RESUME:
            self._streams.caught_up()

    def _shut(self) -> None:
        self._state = "lingering"
        connection = _socket.socket(fileno=self._descriptor)
        try:
            connection.shutdown(_socket.SHUT_WR)
        except OSError:
            pass
        finally:
            connection.detach()
        self._loop.after(_LINGER, self.drop)
        self._watch()

    def _watch(self) -> None:
        """Tell the loop what matters now."""
        mask = WRITE if self._queue else 0
        if self._state == "attached":
            if self.reads_input and self._streams is not None and not self._streams.input.waits():
                mask |= READ
        elif not self._input_over:
            mask |= READ  # only to throw it away and to see the peer's end
        if mask == self._mask:
            return
        if self._mask < 0:
            self._loop.add(self._descriptor, self, mask)
        else:
            self._loop.modify(self._descriptor, mask)
        self._mask = mask

    def _unwatch(self) -> None:
        if self._mask >= 0:
            self._loop.remove(self._descriptor)
            self._mask = -1
