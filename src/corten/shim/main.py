"""``corten-shim --exec-root DIR [--foreground]``: the process.

 (1) seal: run on from a read-only copy of the interpreter, so that no container can write to it (CVE-2019-5736)
 (2) leave the starter behind (not with --foreground); it ends when it hears of (4), or of a failure
 (3) one shim per exec root: a lock on <exec-root>/shim.pid, held until the process ends
 (4) the socket: a starter that ends with 0 means that it accepts
 (5) serve (:mod:`corten.shim.service`, imported after (1): the interpreter starts twice)

Ignores SIGHUP and SIGINT. SIGTERM ends an idle shim; while it has containers it stays, for nobody else is their
parent. SIGKILL is survived by the containers (see the protocol's ``adopt``).
"""

from __future__ import annotations

import _socket
import fcntl
import os
import sys

from corten.runtime import seal
from corten.shim import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_BACKLOG = 16
_USAGE = "usage: corten-shim --exec-root DIR [--foreground]"


def entry() -> NoReturn:
    """The command."""
    exec_root, foreground = _arguments(sys.argv[1:])
    seal.seal([*seal.lean_command("corten.shim.main"), *sys.argv[1:]])  # (1)
    from corten.shim import service

    told = -1 if foreground else _leave_starter()  # (2)
    root = os.open(exec_root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    lock = _lock(root)  # (3)
    if lock < 0:
        _tell(told)
        sys.exit(1 if foreground else 0)  # another one serves this exec root already
    listener = _listen(root)  # (4)
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    _tell(told)
    service.serve(f"{exec_root}/{protocol.STATE}", listener)  # (5)
    os.unlink(protocol.SOCKET, dir_fd=root)
    os.ftruncate(lock, 0)  # not unlinked: a shim that starts now may hold it open already
    sys.exit(0)


def _leave_starter() -> int:
    """Go on in a child of our own; returns the pipe on which the starter waits for a byte."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    if os.fork() == 0:  # noqa: TID251  before anything else exists; nothing is cloned from a half-made state
        os.close(reader)
        return writer
    os.close(writer)
    os._exit(0 if os.read(reader, 1) else 1)


def _tell(told: int) -> None:
    if told >= 0:
        os.write(told, b".")
        os.close(told)


def _lock(root: int) -> int:
    """The descriptor that carries the lock, -1 when another shim has it.

    A POSIX lock (fcntl_locking(2)): it belongs to this process alone, so no clone of it can keep it alive.
    """
    descriptor = os.open(protocol.PID_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=root)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return -1
    return descriptor


def _listen(root: int) -> _socket.socket:
    """The socket, of mode 0600 from its first moment."""
    try:
        os.unlink(protocol.SOCKET, dir_fd=root)  # of a shim that died: we have the lock
    except FileNotFoundError:
        pass
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    before = os.umask(0o177)
    try:
        listener.bind(protocol.address(root))
    finally:
        os.umask(before)
    listener.listen(_BACKLOG)
    return listener


def _arguments(arguments: list[str]) -> tuple[str, bool]:
    foreground = "--foreground" in arguments
    rest = [argument for argument in arguments if argument != "--foreground"]
    if len(rest) != 2 or rest[0] != "--exec-root" or not os.path.isabs(rest[1]):
        print(_USAGE, file=sys.stderr)
        sys.exit(2)
    return rest[1], foreground


if __name__ == "__main__":
    entry()
