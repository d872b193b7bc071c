"""The engine's side of the shim's socket: launch, connect, and the state files of a shim that died.

No event loop's colour: :class:`ShimConnection` is a :class:`corten.shim.protocol.Channel` that numbers requests; the
engine registers its descriptor and matches ``seq``.
"""

from __future__ import annotations

import json
import os
import socket

from corten.errors import Unavailable
from corten.runtime import seal
from corten.shim import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class ShimConnection(protocol.Channel):
    """A connection of the engine to its shim."""

    __slots__ = ("_next",)

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self._next = 0

    def request(self, name: str, fields: dict[str, Any] | None = None, fds: Sequence[int] = ()) -> int:
        """Send one request; the answer will carry the number returned here as ``seq``."""
        self._next += 1
        self.send({"seq": self._next, "request": name, **(fields or {})}, fds)
        return self._next


def connect(exec_root: str) -> socket.socket:
    """A connected socket. Raises FileNotFoundError or ConnectionRefusedError when no shim is there."""
    directory = os.open(exec_root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.connect(protocol.address(directory))
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(directory)
    return connection


def launch(exec_root: str) -> int:
    """Start a shim in the background; returns its pid when its socket accepts.

    The process that is spawned here makes itself ready, leaves its detached child behind and ends, so that the
    engine has no child to wait for. When a shim runs already, its pid is returned. Raises Unavailable with the reason.
    """
    log = os.open(f"{exec_root}/shim.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    command = [*seal.lean_command("corten.shim.main"), "--exec-root", exec_root]
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    try:
        child = os.posix_spawn(command[0], command, {"LANG": "C.UTF-8"}, file_actions=actions, setsid=True)
        _, status = os.waitpid(child, 0)
    finally:
        os.close(log)
        os.close(null)
    if os.waitstatus_to_exitcode(status):
        raise Unavailable(f"the shim did not start, see {exec_root}/shim.log")
    with open(f"{exec_root}/{protocol.PID_FILE}", encoding="ascii") as file:
        return int(file.read())


def saved_states(exec_root: str) -> list[dict[str, Any]]:
    """What a shim wrote down about its containers and execs, to be passed to ``adopt`` of the next one.

    A damaged file is left out: the container is then found by nobody, which ``corten doctor`` reports.
    """
    states = []
    directory = f"{exec_root}/{protocol.STATE}"
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    for name in names:
        if not name.endswith(".json"):
            continue
        try:
            with open(f"{directory}/{name}", "rb") as file:
                states.append(json.load(file))
        except (OSError, ValueError):
            continue
    return states
