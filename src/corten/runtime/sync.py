"""The channel between the process that starts a container and the container's first process.

::

    starter                                container's first process
      |  clone3                              |
      |<-- {"hooks": "createRuntime"} -------|   only when the spec has such hooks; answered by one byte
      |--- b"." ---------------------------->|
      |<-- {"warning": text} ----------------|   any number
      |<-- {"console": true} + fd -----------|   the pty's master
      |<-- {"listener": number} -------------|   a seccomp listener, taken with pidfd_getfd(2), then one byte
      |<-- {"mounts": true} + 2 fds ---------|   only in a user namespace, by its builder: the container's mount
      |                                      |   namespace, and the one it is a copy of
      |<-- {"ready": true} ------------------|   only with hold_start: all is done but execve
      |--- b"." ---------------------------->|   the starter has written down whom it started
      |<-- {"error": {"kind", "text"}} ------|   then EOF
      |<-- EOF ------------------------------|   execve succeeded: the socket is close-on-exec

SOCK_SEQPACKET, so one message is one packet. ``kind`` is a class name of :mod:`corten.errors`.
"""

from __future__ import annotations

import _socket
import os
import struct

from corten.oci.runtime import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

_MAX_MESSAGE: Final = 65536
_MAX_FDS: Final = 8
_MSG_CMSG_CLOEXEC: Final = 0x40000000


def pair() -> tuple[int, int]:
    """Both ends, close-on-exec."""
    first, second = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    return first.detach(), second.detach()


def send(channel: int, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """One message; BrokenPipeError when the other end is gone."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, channel)
    try:
        control = []
        if fds:
            control.append((_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds)))
        socket.sendmsg([encode(message).encode()[:_MAX_MESSAGE]], control, _socket.MSG_NOSIGNAL)
    finally:
        socket.detach()


def receive(channel: int) -> tuple[dict[str, Any] | None, list[int]]:
    """One message and its descriptors (close-on-exec); ``(None, [])`` at EOF. BlockingIOError as recvmsg(2)."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, channel)
    try:
        data, control, _, _ = socket.recvmsg(_MAX_MESSAGE, _socket.CMSG_SPACE(4 * _MAX_FDS), _MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None, []
    finally:
        socket.detach()
    fds: list[int] = []
    for level, kind, payload in control:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            fds.extend(struct.unpack(f"{len(payload) // 4}i", payload[: len(payload) // 4 * 4]))
    return (decode(data), fds) if data else (None, [])


def answer(channel: int) -> None:
    """The starter's byte that lets the child go on."""
    os.write(channel, b".")


def await_answer(channel: int) -> None:
    """Wait for :func:`answer`; EOFError when the starter gave up."""
    if not os.read(channel, 1):
        raise EOFError("the starter gave up")
