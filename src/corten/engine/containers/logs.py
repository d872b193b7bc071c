"""``logs``: a container's log as the stream its clients read.

Owns selection by stream, time stamps, details and framing, and how following ends: with the container (as in Docker,
also where it is started again at once), at ``until``, or with the client. Files are read in threads, and only as fast
as the client takes it. Refuses to know the file format (:mod:`corten.logs.reader`).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final
from urllib.parse import quote_plus

from corten.engine.containers.facts import HostFacts
from corten.engine.containers.framing import frame
from corten.engine.streams import LogsOptions
from corten.engine.tasks import Container
from corten.errors import InvalidArgument, NotSupported
from corten.logs import driver
from corten.logs.reader import Follower, Reader

Entry = tuple[str, int, bytes, dict[str, str]]
#: Bytes gathered before they are given to the connection.
_BATCH: Final = 64 * 1024


def check(container: Container, options: LogsOptions) -> None:
    """Raises what Docker answers before the stream begins."""
    if not (options.stdout or options.stderr):
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    log = container.record.host.LogConfig
    if not driver.has_file(log.Type, log.Config or {}):
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

    async def chunks(self) -> AsyncIterator[bytes]:
        """Framed (or, with a terminal, raw) bytes."""
        if self._options.follow and self._container.record.state.alive:
            async for chunk in self._follow():
                yield chunk
            return
        entries = iter(entries_of(self._path, self._options))
        chunk = await asyncio.to_thread(self._gather, entries)
        while chunk:
            yield chunk
            chunk = b"" if len(chunk) < _BATCH else await asyncio.to_thread(self._gather, entries)

    def _gather(self, entries: Iterable[Entry]) -> bytes:
        """About 64 KiB of output; less is the end of it."""
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
        more = asyncio.Event()
        over = self._container.next_exit()
        over.add_done_callback(lambda _: more.set())
        follower = await asyncio.to_thread(
            lambda: Follower(self._path, since_ns=options.since_ns, until_ns=options.until_ns, tail=options.tail)
        )
        reading: asyncio.Future[bytes] | None = None
        loop = asyncio.get_running_loop()
        try:
            while True:
                more.clear()
                last = over.done() or _past(options.until_ns)  # asked first: what was written before is read after
                reading = loop.run_in_executor(None, self._poll, follower)
                chunk = await asyncio.shield(reading)
                if chunk:
                    yield chunk
                elif follower.ended or last:
                    return
                else:
                    await _change(follower, more, options.until_ns)
        finally:
            over.cancel()
            if reading is not None and not reading.done():  # cancelled while a thread still reads
                reading.add_done_callback(lambda _: follower.close())
            else:
                follower.close()

    def _poll(self, follower: Follower) -> bytes:
        """What the client is to see of what is new; empty when nothing is new."""
        while entries := follower.poll():
            chunk = b"".join(self._render(entry) for entry in entries if _wanted(entry, self._options))
            if chunk:
                return chunk
        return b""

    def _render(self, entry: Entry) -> bytes:
        stream, when, data, attributes = entry
        if self._options.details:
            data = _details(attributes) + b" " + data
        if self._options.timestamps:
            data = rfc3339(when).encode() + b" " + data
        return data if self._terminal else frame(stream, data)


def _details(attributes: Mapping[str, str]) -> bytes:
    """``key=value`` pairs by key, each half escaped as in a URL's query."""
    pairs = (f"{quote_plus(str(key))}={quote_plus(str(attributes[key]))}" for key in sorted(attributes))
    return ",".join(pairs).encode()


def _wanted(entry: Entry, options: LogsOptions) -> bool:
    return options.stderr if entry[0] == "stderr" else options.stdout


def _past(until_ns: int) -> bool:
    return bool(until_ns) and time.time_ns() >= until_ns


async def _change(follower: Follower, more: asyncio.Event, until_ns: int) -> None:
    """Wait until ``more`` is set, by the end of the container or because files have changed, or ``until`` has come."""
    loop = asyncio.get_running_loop()
    loop.add_reader(follower.fileno(), _found, loop, follower.fileno(), more)
    try:
        await asyncio.wait_for(more.wait(), max(0.0, (until_ns - time.time_ns()) / 1e9) if until_ns else None)
    except TimeoutError:
        return
    finally:
        loop.remove_reader(follower.fileno())


def _found(loop: asyncio.AbstractEventLoop, descriptor: int, more: asyncio.Event) -> None:
    loop.remove_reader(descriptor)  # it stays readable until a thread has read it
    more.set()


def rfc3339(when_ns: int) -> str:
    """``2006-01-02T15:04:05.000000000Z``: nine digits, as Docker prints the time of a log line."""
    seconds, rest = divmod(when_ns, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"
