"""``logs``: a container's json-file log as the stream its clients read.

Owns selection by stream, time stamps, details and framing, and how following ends: with the container, or with the
client. Refuses to know the file format (:mod:`corten.logs.reader`).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Final

from corten.engine.containers.facts import HostFacts
from corten.engine.containers.framing import frame
from corten.engine.streams import LogsOptions
from corten.engine.tasks import Container
from corten.errors import InvalidArgument, NotSupported
from corten.logs import driver
from corten.logs.reader import Follower, Reader

Entry = tuple[str, int, bytes]
#: Bytes gathered before they are given to the connection.
_BATCH: Final = 64 * 1024


def check(container: Container, options: LogsOptions) -> None:
    """Raises what Docker answers before the stream begins."""
    if not (options.stdout or options.stderr):
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    if container.record.host.LogConfig.Type == "none":
        raise NotSupported("configured logging driver does not support reading")


def entries_of(path: str, options: LogsOptions) -> Iterable[Entry]:
    """The selected entries of a log that is not followed; blocks."""
    for entry in Reader(path).read(since_ns=options.since_ns, until_ns=options.until_ns, tail=options.tail):
        if _wanted(entry, options):
            yield entry


class LogStream:
    """The bytes of one ``GET /containers/{id}/logs``."""

    def __init__(self, container: Container, options: LogsOptions, facts: HostFacts) -> None:
        record = container.record
        self._container = container
        self._options = options
        self._path = facts.log_path(record)
        self._terminal = record.config.Tty
        self._details = b""
        if options.details:
            pairs = driver.attributes(
                record.host.LogConfig.Config or {}, record.config.Labels or {}, record.config.Env or []
            )
            self._details = ",".join(f"{key}={value}" for key, value in sorted(pairs.items())).encode() + b" "

    async def chunks(self) -> AsyncIterator[bytes]:
        """Framed (or, with a terminal, raw) bytes."""
        if self._options.follow:
            async for chunk in self._follow():
                yield chunk
            return
        entries = iter(entries_of(self._path, self._options))
        while chunk := await asyncio.to_thread(self._gather, entries):
            yield chunk

    def _gather(self, entries: Iterable[Entry]) -> bytes:
        """Up to about 64 KiB of output."""
        parts, size = [], 0
        for entry in entries:
            part = self._render(entry)
            parts.append(part)
            size += len(part)
            if size >= _BATCH:
                break
        return b"".join(parts)

    async def _follow(self) -> AsyncIterator[bytes]:
        """New output as it is written, until the container has ended and everything it wrote was given."""
        options = self._options
        over = self._container.next_exit() if self._container.record.state.alive else None
        follower = await asyncio.to_thread(
            lambda: Follower(self._path, since_ns=options.since_ns, until_ns=options.until_ns, tail=options.tail)
        )
        changed = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(follower.fileno(), changed.set)
        if over is not None:
            over.add_done_callback(lambda _: changed.set())
        try:
            while True:
                ended = over is None or over.done()
                changed.clear()
                entries = [entry for entry in follower.poll() if _wanted(entry, options)]
                if entries:
                    yield b"".join(map(self._render, entries))
                elif follower.ended or ended or _past(options.until_ns):
                    return
                else:
                    await _wait(changed, options.until_ns)
        finally:
            loop.remove_reader(follower.fileno())
            follower.close()
            if over is not None:
                over.cancel()

    def _render(self, entry: Entry) -> bytes:
        stream, when, data = entry
        if self._details:
            data = self._details + data
        if self._options.timestamps:
            data = rfc3339(when).encode() + b" " + data
        return data if self._terminal else frame(stream, data)


def _wanted(entry: Entry, options: LogsOptions) -> bool:
    return options.stderr if entry[0] == "stderr" else options.stdout


def _past(until_ns: int) -> bool:
    return bool(until_ns) and time.time_ns() >= until_ns


async def _wait(changed: asyncio.Event, until_ns: int) -> None:
    seconds = max(0.0, (until_ns - time.time_ns()) / 1e9) if until_ns else None
    try:
        await asyncio.wait_for(changed.wait(), seconds)
    except TimeoutError:
        return


def rfc3339(when_ns: int) -> str:
    """``2006-01-02T15:04:05.000000000Z``: nine digits, as Docker prints the time of a log line."""
    seconds, rest = divmod(when_ns, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"
