"""Where a container's output is logged: a file, a file behind a buffer, or a sink elsewhere with a file as its cache.

    write ──> Writer                                        json-file, local
    write ──> backlog ──work──> Writer                      the same with mode=non-blocking
    write ──> Writer (the cache, unless disabled)           syslog, journald
          └─> backlog ──work──> cutter ──> Outbox

Nothing here waits. What is to be done later is done by :meth:`Log.work`, a bounded piece at a time. A sink that takes
messages slowly slows its container down (Docker's mode=blocking) as long as it takes any; one that has taken none for
STALL seconds, and any with mode=non-blocking, costs the newest messages instead: they are counted in ``lost``.
"""

from __future__ import annotations

import os
import time

from corten import errors
from corten.logs import journald, syslog
from corten.logs.json_file import STREAMS, Writer
from corten.logs.outbox import Outbox
from corten.logs.pieces import Cutter
from corten.oci.document import encode
from corten.shim.loop import note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterator
    from typing import Any, Final, Protocol

    from corten.logs.pieces import Part
    from corten.shim.loop import Loop

    class Log(Protocol):
        """What :class:`corten.shim.stdio.Streams` needs. ``path`` names it in messages."""

        path: str

        @property
        def lost(self) -> int: ...
        def write(self, stream: str, chunk: bytes, now_ns: int) -> None: ...
        def finish(self, stream: str, now_ns: int) -> None: ...
        def throttles(self) -> bool: ...
        def work(self) -> float: ...
        def owes(self) -> bool: ...
        def reopen(self) -> None: ...
        def close(self) -> None: ...

    Message = Callable[[str, bytes, "Part | None", int], bytes]
else:
    from _collections import deque


STALL: Final = 1.0
#: How long a log whose container is gone may go on delivering.
LINGER: Final = 5.0
_BUFFER: Final = 1024 * 1024
_MESSAGES: Final = 128
_CHUNKS: Final = 4
_PAUSE: Final = 0.01
#: What a chunk takes besides its bytes: a container may write one byte at a time.
_OVERHEAD: Final = 160


class Backlog:
    """Chunks that wait, at most ``limit`` bytes of them; an empty one says that its stream has ended."""

    __slots__ = ("_chunks", "_taken", "limit", "lost", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = self._taken = 0
        self.lost = 0
        self._chunks: deque[tuple[str, bytes, int]] = deque()

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def add(self, stream: str, chunk: bytes, now_ns: int, *, beyond: int = 0) -> None:
        """Keep it, or count its lines as lost."""
        if self.size + len(chunk) > self.limit + beyond and self.size:
            self.lost += chunk.count(b"\n") or 1
            return
        self._chunks.append((stream, chunk, now_ns))
        self.size += len(chunk) + _OVERHEAD

    def end(self, stream: str, now_ns: int) -> None:
        """The stream has ended."""
        self._chunks.append((stream, b"", now_ns))

    def pop(self) -> tuple[str, bytes, int]:
        """The oldest one; it counts until the next one is taken, or :meth:`release`."""
        self.release()
        found = self._chunks.popleft()
        self._taken = len(found[1]) + _OVERHEAD if found[1] else 0
        return found

    def release(self) -> None:
        """What was taken is done with."""
        self.size -= self._taken
        self._taken = 0


class Delayed:
    """A file behind a buffer: mode=non-blocking of the file drivers."""

    __slots__ = ("_backlog", "_writer", "path")

    def __init__(self, writer: Writer, limit: int) -> None:
        self._writer = writer
        self._backlog = Backlog(limit)
        self.path = writer.path

    @property
    def lost(self) -> int:
        return self._writer.lost + self._backlog.lost

    def write(self, stream: str, chunk: bytes, now_ns: int) -> None:
        self._backlog.add(stream, chunk, now_ns)

    def finish(self, stream: str, now_ns: int) -> None:
        self._backlog.end(stream, now_ns)

    def throttles(self) -> bool:
        return False

    def work(self) -> float:
        for _ in range(_CHUNKS):
            if not self._backlog:
                self._backlog.release()
                return self._writer.work()
            stream, chunk, when = self._backlog.pop()
            if chunk:
                self._writer.write(stream, chunk, when)
            else:
                self._writer.finish(stream, when)
        return 0.0

    def owes(self) -> bool:
        return bool(self._backlog)

    def reopen(self) -> None:
        self._writer.reopen()

    def close(self) -> None:
        while self._backlog:
            self.work()
        self._writer.close()


class Remote:
    """A sink elsewhere. ``cache`` is what can be read back here, None where it is disabled."""

    __slots__ = ("_backlog", "_blocking", "_cache", "_cutters", "_message", "_outbox", "_progress", "_waiting", "path")

    def __init__(self, path: str, outbox: Outbox, message: Message, cache: Writer | None, limit: int, *,
                 blocking: bool) -> None:  # fmt: skip
        self.path = path
        self._outbox = outbox
        self._message = message
        self._cache = cache
        self._blocking = blocking
        self._backlog = Backlog(limit)
        self._cutters = {stream: Cutter() for stream in STREAMS}
        self._waiting: Iterator[bytes] = iter(())
        self._progress = time.monotonic()

    @property
    def lost(self) -> int:
        return self._backlog.lost + self._outbox.lost + (0 if self._cache is None else self._cache.lost)

    def write(self, stream: str, chunk: bytes, now_ns: int) -> None:
        if self._cache is not None:
            self._cache.write(stream, chunk, now_ns)
        if not self._backlog and self._outbox.idle:
            self._progress = time.monotonic()  # it cannot have failed while there was nothing to do
        # A dying process's last output may come at once; while it lives, its output waits at the limit.
        self._backlog.add(stream, chunk, now_ns, beyond=2 * _BUFFER if self._blocking and not self._stalls() else 0)

    def finish(self, stream: str, now_ns: int) -> None:
        if self._cache is not None:
            self._cache.finish(stream, now_ns)
        self._backlog.end(stream, now_ns)

    def throttles(self) -> bool:
        return self._blocking and self._backlog.size > self._backlog.limit and not self._stalls()

    def _stalls(self) -> bool:
        return time.monotonic() - self._progress > STALL

    def work(self) -> float:
        for _ in range(_MESSAGES):
            if not self._outbox.idle:
                if not self._outbox.flush():
                    return _PAUSE
                self._progress = time.monotonic()
            message = next(self._waiting, None)
            if message is not None:
                if self._outbox.send(message):
                    self._progress = time.monotonic()
            elif self._backlog:
                self._waiting = self._messages(*self._backlog.pop())
            else:
                self._backlog.release()
                return self._cache.work() if self._cache is not None else -1.0
        return 0.0

    def _messages(self, stream: str, chunk: bytes, now_ns: int) -> Iterator[bytes]:
        cutter = self._cutters[stream]
        for text, part in cutter.feed(chunk) if chunk else cutter.finish():
            message = self._message(stream, text, part, now_ns)
            if message:
                yield message

    def owes(self) -> bool:
        return bool(self._backlog) or not self._outbox.idle

    def reopen(self) -> None:
        if self._cache is not None:
            self._cache.reopen()

    def close(self) -> None:
        lost = (not self._outbox.idle) + sum(1 for _ in self._waiting)
        while self._backlog:
            lost += self._backlog.pop()[1].count(b"\n")
        self._backlog.lost += lost
        self._outbox.close()
        if self._cache is not None:
            self._cache.close()


def open_log(options: dict[str, Any] | None) -> Log | None:
    """The log of a ``start`` request, None for ``none``; raises OSError, and KeyError for a request that is none."""
    driver = (options or {}).get("driver", "none")
    if options is None or driver == "none":
        return None
    writer = _writer(options) if options.get("path") else None
    limit = int(options.get("buffer") or 0)
    if driver in ("json-file", "local"):
        if writer is None:
            raise errors.InvalidArgument(f"log driver {driver} needs a path")
        return Delayed(writer, limit) if limit else writer
    if driver not in ("syslog", "journald"):
        raise errors.NotSupported(f"log driver {driver} is not supported yet")
    sink = options["sink"]
    protocol, where = sink["target"]
    outbox = Outbox((protocol, where if isinstance(where, str) else (where[0], where[1])))
    name = f"{driver} {where}"
    return Remote(name, outbox, _encoder(driver, sink), writer, limit or _BUFFER, blocking=not limit)


def reopen_log(options: dict[str, Any] | None) -> Log | None:
    """The log of a container that is adopted, None when it cannot be opened: that must not cost the container."""
    try:
        return open_log(options)
    except (OSError, errors.CortenError, KeyError):
        return None


def _writer(options: dict[str, Any]) -> Writer:
    attributes = encode(options["attributes"]).encode() if options.get("attributes") else b""
    return Writer(
        options["path"], max_size=options["max_size"], max_file=options["max_file"],
        compress=bool(options.get("compress")), attributes=attributes,
    )  # fmt: skip


def _encoder(driver: str, sink: dict[str, Any]) -> Message:
    if driver == "journald":
        return journald.Encoder(journald.fields(sink["fields"]), os.urandom(32).hex()).message
    formatter = syslog.Formatter(
        sink["format"], sink["facility"], sink["tag"], host=os.uname().nodename, pid=os.getpid()
    )

    def message(stream: str, text: bytes, part: Part | None, now_ns: int) -> bytes:
        return formatter.message(stream, text, now_ns) if text else b""  # as Docker, which sends no empty line

    return message


def linger(loop: Loop, log: Log, deadline: float) -> None:
    """Let a log whose container is gone deliver what it owes, then close it."""
    delay = log.work()
    if log.owes() and time.monotonic() < deadline:
        loop.after(max(delay, 0.0), lambda: linger(loop, log, deadline))
        return
    before = log.lost
    log.close()
    if log.lost > before:
        note(f"{log.path}: {log.lost} lines could not be written")
