"""Descriptors that go to others: a pty's master, a pidfd or a seccomp listener over a unix socket, and those of the
caller that the container keeps (``--preserve-fds``, LISTEN_FDS).
"""

from __future__ import annotations

import _socket
import fcntl
import os
import struct

from corten.errors import InvalidArgument, RuntimeFailure
from corten.linux import process as linux_process
from corten.oci.runtime import VERSION, encode
from corten.runtime.flags import Options
from corten.runtime.state import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_FIRST: Final = 3
_MAX_PRESERVED: Final = 1024


def send(path: str, payload: bytes, descriptor: int) -> None:
    """One connection to the unix stream socket ``path``: the payload, the descriptor beside it, and the end."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        socket.connect(path)
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", descriptor))]
        sent = socket.sendmsg([payload], rights)
        while sent < len(payload):
            sent += socket.send(payload[sent:])
    except OSError as error:
        text = str(error.strerror or error).lower()
        raise RuntimeFailure(f"socket {path}: {text}") from None
    finally:
        socket.close()


def send_listener(held: Container, pid: int, pidfd: int, number: int) -> None:
    """Descriptor ``number`` of process ``pid`` to the agent of ``linux.seccomp.listenerPath``, with the container
    process state (runtime-spec, config-linux.md).
    """
    profile = held.spec["linux"]["seccomp"]
    document: dict[str, Any] = {
        "ociVersion": VERSION,
        "fds": ["seccompFd"],
        "pid": pid,
        "state": held.oci_state("creating" if pid == held.pid else "running"),
    }
    if metadata := profile.get("listenerMetadata"):
        document["metadata"] = metadata
    listener = linux_process.pidfd_getfd(pidfd, number)
    try:
        send(profile["listenerPath"], encode(document).encode(), listener)
    finally:
        os.close(listener)


def preserved(options: Options, process: dict[str, Any]) -> int:
    """How many descriptors from 3 on the container keeps; those of LISTEN_FDS come first, and their variables with
    them (sd_listen_fds(3)). What is not open is refused: the number would be one of ours.
    """
    count = options.number("preserve-fds") or 0
    passed = os.environ.get("LISTEN_FDS", "")
    if passed.isdecimal() and int(passed):
        count += int(passed)
        process["env"] = [*(process.get("env") or ()), f"LISTEN_FDS={int(passed)}", "LISTEN_PID=1"]
    if not 0 <= count <= _MAX_PRESERVED:
        raise InvalidArgument(f"--preserve-fds: {count} descriptors cannot be preserved")
    for number in range(_FIRST, _FIRST + count):
        try:
            inherited = not fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        except OSError:
            inherited = False
        if not inherited:
            raise InvalidArgument(f"please check that preserved-fd {number} exists")
    return count
