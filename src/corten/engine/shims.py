"""The engine's side of its shim: one connection, requests with answers, events with a handler, descriptors held as
copies.

Owns the connection's life: connect, or launch when nothing answers; when the shim dies, launch another and hand it
every container this engine knows, with the descriptors kept for that. Refuses to know what a container is: states are
documents.
"""

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import corten.errors
from corten.errors import CortenError, Unavailable
from corten.shim.client import ShimConnection, connect, launch, saved_states
from corten.shim.protocol import VERSION

logger = logging.getLogger(__name__)

_ANSWER_SECONDS: Final = 30.0
_RELAUNCH_PAUSE: Final = 0.2

Answer = tuple[dict[str, Any], list[int]]
#: A container's id and, for one of its execs, the exec's id.
Subject = tuple[str, str]


class Listener(Protocol):
    """Who is told what happens on the shim's side; called on the event loop's thread."""

    def event(self, name: str, fields: dict[str, Any]) -> None:
        """``exited``, ``detached`` or ``oom``."""
        ...

    def handover(self, subject: Subject, handles: dict[str, int]) -> None:
        """Copies of a live subject's descriptors by role, the listener's to keep and close."""
        ...

    async def revived(self, hello: dict[str, Any]) -> None:
        """A new shim answered after the old one was lost; it must be handed what the old one supervised."""
        ...


def error_of(document: Mapping[str, Any]) -> CortenError:
    """The exception a shim's ``error`` document stands for; its ``kind`` is a class name of :mod:`corten.errors`."""
    kind = getattr(corten.errors, str(document.get("kind", "")), None)
    text = str(document.get("text", "the shim gave no reason"))
    if not (isinstance(kind, type) and issubclass(kind, CortenError)):
        kind = CortenError
    error = kind.__new__(kind)
    Exception.__init__(error, text)
    return error


class Shim:
    """Requests to the shim of one engine; every method is called on the event loop's thread."""

    def __init__(self, exec_root: str) -> None:
        self._exec_root = exec_root
        self._listener: Listener | None = None
        self._connection: ShimConnection | None = None
        self._fd = -1
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._writing = False
        self._ready = asyncio.Event()
        self._revival: asyncio.Task[None] | None = None
        self._closing = False

    async def open(self, listener: Listener) -> dict[str, Any]:
        """Connect, or launch and connect; returns the shim's ``hello`` answer (its containers and execs)."""
        self._listener = listener
        hello = await self._connect()
        self._ready.set()
        return hello

    async def _connect(self) -> dict[str, Any]:
        try:
            sock = await asyncio.to_thread(connect, self._exec_root)
        except OSError:
            await asyncio.to_thread(launch, self._exec_root)
            sock = await asyncio.to_thread(connect, self._exec_root)
        sock.setblocking(False)
        self._connection = ShimConnection(sock)
        self._fd = self._connection.fileno()
        asyncio.get_running_loop().add_reader(self._fd, self._readable)
        answer, _ = await self._ask("hello", {"version": VERSION})
        return answer

    async def request(self, name: str, fields: dict[str, Any], fds: Sequence[int] = ()) -> Answer:
        """One request and its answer with the descriptors that came along (the caller's to close).

        Raises:
            CortenError: what the shim reported, in the class it named.
            Unavailable: the shim died before it answered.
        """
        if not self._ready.is_set():
            await asyncio.wait_for(self._ready.wait(), _ANSWER_SECONDS)
        return await self._ask(name, fields, fds)

    def tell(self, name: str, fields: dict[str, Any]) -> None:
        """A request whose answer nobody waits for (``ack``)."""
        if self._connection is not None:
            self._post(name, fields, ())

    def suggest(self, name: str, fields: dict[str, Any]) -> None:
        """As :meth:`tell`, of what may be left out: nothing reaches a new shim before everything was handed to it. What
        it made by then would be taken for what its predecessor left.
        """
        if self._ready.is_set():
            self.tell(name, fields)

    async def adopt(self, held: Mapping[Subject, dict[str, int]]) -> list[Subject]:
        """Hand a new shim everything its predecessor wrote down, with the descriptors ``held``; returns what it
        took.
        """
        adopted = []
        for state in await asyncio.to_thread(saved_states, self._exec_root):
            subject = (str(state.get("id", "")), str(state.get("exec_id") or ""))
            handles = held.get(subject, {})
            try:
                await self._ask("adopt", {"state": state, "roles": list(handles)}, list(handles.values()))
            except Unavailable:
                raise  # this shim is lost too: the next one adopts
            except CortenError as exc:
                logger.error("the new shim cannot supervise %s: %s", subject, exc)
            else:
                adopted.append(subject)
        return adopted

    async def close(self, *, shutdown: bool) -> None:
        """Leave the shim; with ``shutdown`` ask it to end (it refuses while it supervises anything)."""
        self._closing = True
        if shutdown and self._connection is not None:
            try:
                await asyncio.wait_for(self._ask("shutdown", {}), 5)
            except (CortenError, TimeoutError) as exc:
                logger.info("shim stays: %s", exc)
        if self._revival is not None:
            self._revival.cancel()
        self._drop(Unavailable("the engine is closing"))

    def _post(self, name: str, fields: dict[str, Any], fds: Sequence[int]) -> int:
        connection = self._connection
        if connection is None:
            raise Unavailable("the shim is not connected")
        seq = connection.request(name, fields, fds)
        self._watch_writes(connection)
        return seq

    async def _ask(self, name: str, fields: dict[str, Any], fds: Sequence[int] = ()) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        seq = self._post(name, fields, fds)
        self._waiting[seq] = future
        try:
            return await future
        finally:
            if self._waiting.get(seq) is future:  # each connection counts anew
                del self._waiting[seq]

    def _flush(self) -> None:
        if self._connection is not None:
            self._connection.flush()
            self._watch_writes(self._connection)

    def _watch_writes(self, connection: ShimConnection) -> None:
        wanted = connection.want_write()
        if wanted != self._writing:
            self._writing = wanted
            loop = asyncio.get_running_loop()
            if wanted:
                loop.add_writer(self._fd, self._flush)
            else:
                loop.remove_writer(self._fd)

    def _readable(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            messages = connection.receive()
        except (OSError, ValueError) as exc:
            self._lost(exc)
            return
        for message, fds in messages:
            self._dispatch(message, fds)

    def _dispatch(self, message: dict[str, Any], fds: list[int]) -> None:
        seq = message.get("seq")
        if seq is not None:
            future = self._waiting.get(seq)
            if future is None or future.done():
                _close_all(fds)
            elif "error" in message:
                _close_all(fds)
                future.set_exception(error_of(message["error"]))
            else:
                future.set_result((message.get("ok") or {}, fds))
            return
        listener = self._listener
        if listener is None:
            _close_all(fds)
        elif "handover" in message:
            subject = (str(message["handover"]), str(message.get("exec_id") or ""))
            listener.handover(subject, dict(zip(message.get("roles", ()), fds, strict=False)))
        else:
            _close_all(fds)
            listener.event(str(message.get("event", "")), message)

    def _lost(self, cause: Exception) -> None:
        self._drop(Unavailable(f"the shim went away: {cause}"))
        if not self._closing and self._listener is not None:
            logger.warning("the shim went away (%s); starting another", cause)
            if self._revival is not None and not self._revival.done():
                return  # it notices: the socket of a shim that is dying may accept once more
            self._revival = asyncio.get_running_loop().create_task(self._revive(self._listener))

    def _drop(self, reason: CortenError) -> None:
        self._ready.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._fd)
            loop.remove_writer(self._fd)
            self._writing = False
            connection.close()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(reason)

    async def _revive(self, listener: Listener) -> None:
        alive = False
        while not alive:
            try:
                await listener.revived(await self._connect())
            except (OSError, CortenError) as exc:
                logger.error("no shim can take over: %s", exc)
            alive = self._connection is not None
            if not alive:
                await asyncio.sleep(_RELAUNCH_PAUSE)
        self._ready.set()


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
