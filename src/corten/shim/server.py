"""The shim's socket: who may connect, which connection counts, answers and events.

One engine at a time. A connection becomes the engine's with its ``hello``; from then on an older one is closed. Only
the shim's own uid may speak (SO_PEERCRED, beside the socket's mode 0600; no abstract address: CVE-2020-15257).
"""

from __future__ import annotations

import _socket
import os

from corten import errors
from corten.shim import protocol, requests
from corten.shim.loop import READ, WRITE, note
from corten.shim.zygote import document_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from corten.shim.supervisor import Supervisor


class Server:
    """Accepts connections and knows which one is the engine's."""

    __slots__ = ("_current", "_listener", "supervisor")

    def __init__(self, supervisor: Supervisor, listener: _socket.socket) -> None:
        self.supervisor = supervisor
        self._listener = listener
        self._current: Connection | None = None
        supervisor.engine = self
        supervisor.loop.add(listener.fileno(), self)

    def ready(self, events: int) -> None:
        """Called by the loop: somebody connects."""
        try:
            accepted, _ = self._listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001  what socket.accept calls
        except OSError:
            return
        channel = protocol.Channel(_socket.socket(fileno=accepted))
        if channel.peer_uid() != os.geteuid():
            note(f"a connection of uid {channel.peer_uid()} was refused")
            channel.close()
            return
        Connection(self, channel)

    def event(self, document: dict[str, Any]) -> bool:
        """Send an event to the engine; False when none is connected."""
        if self._current is None:
            return False
        self._current.send(document)
        return True

    def take_over(self, connection: Connection) -> None:
        """``connection`` said hello: it is the engine's now."""
        previous, self._current = self._current, connection
        if previous is not None:
            previous.close()

    def closed(self, connection: Connection) -> None:
        """A connection has ended."""
        if connection is self._current:
            self._current = None
            self.supervisor.engine_left()

    def close(self) -> None:
        """End of the shim."""
        self.supervisor.loop.remove(self._listener.fileno())
        self._listener.close()
        if self._current is not None:
            self._current.close()


class Connection:
    """One connection; hands over copies of the tasks' descriptors, a frame at a time, after hello."""

    __slots__ = ("_channel", "_descriptor", "_greeted", "_handover", "_server")

    def __init__(self, server: Server, channel: protocol.Channel) -> None:
        self._server = server
        self._channel: protocol.Channel | None = channel
        self._descriptor = channel.fileno()
        self._greeted = False
        self._handover: list[tuple[str, str]] = []
        server.supervisor.loop.add(self._descriptor, self)

    def ready(self, events: int) -> None:
        """Called by the loop."""
        channel = self._channel
        if channel is None:
            return
        try:
            if events & WRITE:
                channel.flush()
            if events & ~WRITE:
                for message, fds in channel.receive():
                    self._serve(message, fds)
        except (protocol.ClosedError, ValueError) as error:
            if not isinstance(error, protocol.ClosedError):
                note(f"a connection was closed: {error}")
            self.close()
            return
        self._continue()

    def send(self, document: dict[str, Any], fds: Sequence[int] = ()) -> bool:
        """Send or queue a frame; False when the connection is gone."""
        if self._channel is None:
            return False
        self._channel.send(document, fds)
        self._continue()
        return True

    def close(self) -> None:
        """Forget the connection. What it asked for and was not answered yet goes on."""
        channel, self._channel = self._channel, None
        if channel is not None:
            self._server.supervisor.loop.remove(self._descriptor)
            channel.close()
            self._server.closed(self)

    def _serve(self, message: dict[str, Any], fds: list[int]) -> None:
        reply = Reply(self, message.get("seq", 0))
        try:
            roles = message.get("roles") or ["client"] * len(fds)
            by_role = protocol.named(roles, fds)
        except ValueError as error:
            for descriptor in fds:
                os.close(descriptor)
            reply.fail(errors.InvalidArgument(str(error)))
            return
        if message.get("request") == "hello":
            self._hello(message, reply)
            by_role = {"": fds}
            for descriptor in fds:
                os.close(descriptor)
        elif not self._greeted:
            for descriptor in fds:
                os.close(descriptor)
            reply.fail(errors.Conflict("hello must come first"))
        else:
            requests.serve(self._server.supervisor, message, by_role, reply)

    def _hello(self, message: dict[str, Any], reply: Reply) -> None:
        if message.get("version") != protocol.VERSION:
            reply.fail(errors.NotSupported(f"this shim speaks version {protocol.VERSION} of the protocol"))
            return
        self._greeted = True
        self._server.take_over(self)
        tasks = list(self._server.supervisor.tasks.values())
        self._handover = [subject.key for subject in tasks if not subject.starting and subject.exit is None]
        self._handover.reverse()
        reply.succeed(
            {
                "version": protocol.VERSION,
                "pid": os.getpid(),
                "containers": [subject.document() for subject in tasks if not subject.exec_id],
                "execs": [subject.document() for subject in tasks if subject.exec_id],
            }
        )

    def _continue(self) -> None:
        """Hand over more when the socket has room; watch for what is needed."""
        channel = self._channel
        if channel is None:
            return
        while self._handover and not channel.want_write():
            subject = self._server.supervisor.tasks.get(self._handover.pop())
            if subject is not None and subject.exit is None:
                ours = subject.descriptors()
                channel.send({"handover": subject.id, **subject.names(), "roles": list(ours)}, list(ours.values()))
        self._server.supervisor.loop.modify(self._descriptor, READ | WRITE if channel.want_write() else READ)


class Reply:
    """The answer to one request, perhaps later; nobody may be there to hear it."""

    __slots__ = ("_connection", "_number")

    def __init__(self, connection: Connection, number: int) -> None:
        self._connection = connection
        self._number = number

    def succeed(self, document: dict[str, Any], fds: Sequence[int] = ()) -> bool:
        """Send ``ok``; False when who asked is gone."""
        return self._connection.send({"seq": self._number, "ok": document}, fds)

    def fail(self, error: BaseException) -> bool:
        """Send ``error``; False when who asked is gone."""
        return self._connection.send({"seq": self._number, "error": document_of(error)})
