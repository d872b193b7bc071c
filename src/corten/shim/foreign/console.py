"""The socket on which a runtime hands over the master of a terminal (runc's ``--console-socket``).

It lies in the bundle and is named through a descriptor of that directory, for a unix socket's address holds 107 bytes
and an exec root may be longer; the descriptor is the shim's own and no command inherits it.
"""

from __future__ import annotations

import _socket
import os
import struct

from corten.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_MSG_CMSG_CLOEXEC: Final = 0x40000000
_MOST_NAME: Final = 4096
_MOST_FDS: Final = 4


class Console:
    """One listening socket, used once. ``path`` is what the runtime connects to."""

    __slots__ = ("_directory", "_listener", "_name", "path")

    def __init__(self, directory: str, name: str) -> None:
        self._name = name
        self._directory = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._listener.setblocking(False)
        self.path = f"/proc/{os.getpid()}/fd/{self._directory}/{name}"
        try:
            self._listener.bind(self.path)
            self._listener.listen(1)
        except OSError:
            self.close()
            raise

    def take(self) -> int:
        """The master, after the runtime's command has ended: it was sent by then. Raises RuntimeFailure."""
        try:
            accepted, _ = self._listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001  what socket.accept calls
        except OSError:
            raise RuntimeFailure("the runtime gave no terminal") from None
        connection = _socket.socket(fileno=accepted)
        connection.setblocking(False)
        try:
            space = _socket.CMSG_SPACE(4 * _MOST_FDS)
            _, control, _, _ = connection.recvmsg(_MOST_NAME, space, _MSG_CMSG_CLOEXEC)
        except OSError:
            raise RuntimeFailure("the runtime gave no terminal") from None
        finally:
            connection.close()
        found: list[int] = []
        for level, kind, payload in control:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                found.extend(struct.unpack(f"{len(payload) // 4}i", payload[: len(payload) // 4 * 4]))
        if not found:
            raise RuntimeFailure("the runtime gave no terminal")
        for descriptor in found[1:]:
            os.close(descriptor)
        return found[0]

    def close(self) -> None:
        """Remove it."""
        self._listener.close()
        try:
            os.unlink(self._name, dir_fd=self._directory)
        except OSError:  # never bound, or gone with its directory
            pass
        os.close(self._directory)
