"""What the engine and the shim say to each other: frames, descriptors, message names.

    engine                                             shim
      | connect <exec-root>/shim.sock                    |  peer's uid checked (SO_PEERCRED)
      |-- {seq, "hello", version} ---------------------->|  an older connection is closed: the newer wins
      |<- {seq, ok: {version, pid, containers, execs}} --|
      |<- {handover: id, exec_id?, roles} + fds ---------|  once for each container and exec that lives
      |                                                  |
      |-- {seq, "namespaces", uids, gids, network} ----->|  only for a container with a user namespace
      |<- {seq, ok: {roles}} + fds ----------------------|
      |-- {seq, "prepare", id, cgroup} ----------------->|  made while the engine is at work on the rest of the start;
      |                                                  |  "give_up" when none follows. Neither is answered
      |-- {seq, "start", id, spec, ...} + fds ---------->|  clone3
      |<- {seq, ok: {pid, started_at, ...}} + fds -------|  after execve; "start_foreign" with a field "runtime" and the
      |                                                  |  same answer once that runtime's commands have ended
      |-- {seq, "attach", id, ...} + client socket ----->|  from here on the client's bytes do not pass the engine
      |<- {seq, ok: {}} ---------------------------------|
      |-- {seq, "view", id, rootfs, mounts, ...} ------->|  a process builds a mount namespace of the container's files
      |<- {seq, ok: {}} + root, mount namespace ---------|  and ends
      |<- {event: "oom", id, oom_kills} -----------------|  the count of this run; also in hello and with the exit
      |              ...                                 |  output drained and logged
      |<- {event: "exited", id, code, ...} --------------|
      |-- {seq, "ack", id} ----------------------------->|  attached clients get their end of file; id forgotten

A frame is a length (4 bytes, big-endian) and that many bytes of JSON (an object). Descriptors travel as SCM_RIGHTS on
the frame's first byte and their number is its member ``fds``; ``roles`` names them in order. A namespace of a spec
whose path is ``fd:ROLE`` is the descriptor of that role. A request has ``seq`` and
``request``; its answer has the same ``seq`` and ``ok`` (object) or ``error`` (``{"kind", "text"}``, a class of
:mod:`corten.errors`). Answers may come in another order than requests. What has no ``seq`` is an event or a handover.

Owns bytes and descriptors; refuses to know what a message means.
"""

from __future__ import annotations

import _socket
import os
import struct

from corten.oci.document import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

#: Raised by one when an older peer could misunderstand; both sides refuse another number.
VERSION: Final = 1
SOCKET: Final = "shim.sock"
PID_FILE: Final = "shim.pid"
STATE: Final = "shim"

MAX_FRAME: Final = 16 * 1024 * 1024
MAX_DESCRIPTORS: Final = 250  # SCM_MAX_FD is 253
_READ: Final = 64 * 1024  # less than malloc(3) maps memory for, and some ten starts
_LENGTH: Final = struct.Struct("!I")
_PEER: Final = struct.Struct("=iII")  # struct ucred


class ClosedError(ConnectionError):
    """The peer is gone; frames that were complete have been delivered before."""


class Channel:
    """One side of a connection: non-blocking, in no event loop's colour.

    Register :meth:`fileno`: for reading always (then :meth:`receive`), for writing while :meth:`want_write` (then
    :meth:`flush`).
    """

    __slots__ = ("_descriptors", "_incoming", "_outgoing", "_socket")

    def __init__(self, connection: _socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._incoming = bytearray()
        self._descriptors: list[int] = []
        self._outgoing: list[tuple[bytes | memoryview, list[int]]] = []

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def peer_uid(self) -> int:
        """Who connected: SO_PEERCRED, unix(7)."""
        raw = self._socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _PEER.size)
        return int(_PEER.unpack(raw)[1])

    def send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send or queue one frame. The descriptors stay the caller's; queued ones are duplicated.

        A lost connection is not told here but by the next :meth:`receive`.
        """
        if len(fds) > MAX_DESCRIPTORS:
            raise ValueError(f"{len(fds)} descriptors in one frame, {MAX_DESCRIPTORS} are possible")
        if fds:
            message = {**message, "fds": len(fds)}
        body = encode(message).encode()
        if len(body) > MAX_FRAME:
            raise ValueError(f"a frame of {len(body)} bytes, {MAX_FRAME} are possible")
        frame = _LENGTH.pack(len(body)) + body
        if self._outgoing:
            self._outgoing.append((frame, [os.dup(fd) for fd in fds]))
            return
        sent = self._try(frame, fds)
        if sent < len(frame):
            rest = [] if sent else [os.dup(fd) for fd in fds]
            self._outgoing.append((memoryview(frame)[sent:], rest))

    def _try(self, frame: bytes | memoryview, fds: Sequence[int]) -> int:
        """How much of the frame the socket took; all of it when the peer is gone."""
        rights = struct.pack(f"={len(fds)}i", *fds)
        ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)] if fds else []
        try:
            return self._socket.sendmsg([frame], ancillary, _socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError:
            return len(frame)

    def want_write(self) -> bool:
        """Whether frames wait for room in the socket."""
        return bool(self._outgoing)

    def flush(self) -> None:
        """Send what the socket takes now."""
        while self._outgoing:
            frame, fds = self._outgoing[0]
            sent = self._try(frame, fds)
            if sent == 0:
                return
            for fd in fds:
                os.close(fd)
            if sent < len(frame):
                self._outgoing[0] = (memoryview(frame)[sent:], [])
                return
            del self._outgoing[0]

    def receive(self) -> list[tuple[dict[str, Any], list[int]]]:
        """The complete frames of one read, each with its descriptors, which now belong to the caller.

        An empty list means nothing is complete yet. Raises :class:`ClosedError` at the end of the stream, ValueError
        when the peer does not speak this protocol.
        """
        space = _socket.CMSG_SPACE(4 * (MAX_DESCRIPTORS + 3))
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(_READ, space, _socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return []
        except OSError as error:
            raise ClosedError(str(error)) from None
        for level, kind, raw in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                self._descriptors.extend(struct.unpack(f"={len(raw) // 4}i", raw[: len(raw) // 4 * 4]))
        if not data:
            raise ClosedError("the peer closed the connection")
        if flags & _socket.MSG_CTRUNC:
            raise ValueError("descriptors were lost on the way: raise RLIMIT_NOFILE")
        self._incoming += data
        return self._split()

    def _split(self) -> list[tuple[dict[str, Any], list[int]]]:
        frames = []
        start, incoming = 0, self._incoming
        while len(incoming) - start >= 4:
            (length,) = _LENGTH.unpack_from(incoming, start)
            if length > MAX_FRAME:
                raise ValueError(f"a frame of {length} bytes")
            if len(incoming) - start - 4 < length:
                break
            message = decode(bytes(incoming[start + 4 : start + 4 + length]))
            if not isinstance(message, dict):
                raise ValueError("a frame that is no object")
            count = message.pop("fds", 0)
            if not isinstance(count, int) or not 0 <= count <= len(self._descriptors):
                raise ValueError("a frame without its descriptors")
            frames.append((message, self._descriptors[:count]))
            del self._descriptors[:count]
            start += 4 + length
        del incoming[:start]
        return frames

    def close(self) -> None:
        """Close the socket and every descriptor that was on its way."""
        self._socket.close()
        for fd in self._descriptors:
            os.close(fd)
        for _, fds in self._outgoing:
            for fd in fds:
                os.close(fd)
        self._descriptors, self._outgoing = [], []


def named(roles: Sequence[str], fds: Sequence[int]) -> dict[str, list[int]]:
    """Descriptors by role, in order; ValueError when the numbers differ."""
    if len(roles) != len(fds):
        raise ValueError(f"{len(roles)} roles for {len(fds)} descriptors")
    found: dict[str, list[int]] = {}
    for role, fd in zip(roles, fds, strict=True):
        found.setdefault(role, []).append(fd)
    return found


def address(exec_root_descriptor: int) -> str:
    """The socket's address through a descriptor of the exec root: no path is too long for ``sun_path``, unix(7)."""
    return f"/proc/self/fd/{exec_root_descriptor}/{SOCKET}"
