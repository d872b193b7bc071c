"""The ``view`` request: :mod:`corten.runtime.view`'s process from its clone to its burial, the loop serving others
meanwhile (a bind source on a dead NFS server may hold it for ever, and must hold nothing else)."""

from __future__ import annotations

import os

from corten import errors
from corten.linux import process
from corten.oci.idmap import IdMaps
from corten.runtime import sync, view
from corten.shim import zygote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.shim.supervisor import Supervisor
    from corten.shim.task import Task
    from corten.shim.zygote import Reply


class Viewing:
    """One such process: the handler of its channel, then of its pidfd."""

    __slots__ = ("_fds", "_pidfd", "_reply", "_supervisor", "_sync")

    def __init__(self, supervisor: Supervisor, reply: Reply, pidfd: int, channel: int) -> None:
        self._supervisor = supervisor
        self._reply = reply
        self._pidfd = pidfd
        self._sync = channel
        self._fds: list[int] = []
        os.set_blocking(channel, False)
        supervisor.loop.add(channel, self)

    def ready(self, events: int) -> None:
        """Called by the loop: the process answers, has answered, or (when the channel is gone) is dead."""
        if self._sync < 0:
            self._buried()
            return
        try:
            message, fds = sync.receive(self._sync)
        except BlockingIOError:
            return
        if message is None or "error" in message:
            self._answer((message or {}).get("error"))
        else:
            self._fds += fds

    def _answer(self, error: dict[str, str] | None) -> None:
        self._supervisor.loop.remove(self._sync)
        os.close(self._sync)
        self._sync = -1
        if error is not None:
            self._reply.fail(zygote.error_of(error))
        elif len(self._fds) != 2:
            self._reply.fail(errors.RuntimeFailure("the container's files cannot be looked at: the process died"))
        else:
            self._reply.succeed({"roles": ["root", "mntns"]}, self._fds)
        for fd in self._fds:
            os.close(fd)
        self._fds = []
        self._supervisor.loop.add(self._pidfd, self)

    def _buried(self) -> None:
        self._supervisor.loop.remove(self._pidfd)
        try:
            process.wait_exit(self._pidfd, block=False)
        except ChildProcessError:
            pass
        os.close(self._pidfd)


def begin(supervisor: Supervisor, subject: Task | None, message: dict[str, Any], reply: Reply) -> None:
    """Start to build a view of a container; ``subject`` when it runs."""
    uids, gids = message.get("uids"), message.get("gids")
    request = view.ViewRequest(
        message["rootfs"],
        message.get("mounts") or (),
        joined=_joined(subject, message),
        read_only=bool(message.get("read_only")),
        maps=IdMaps(uids, gids) if uids and gids else None,
    )
    try:
        started = view.start(request)
    except OSError as error:
        raise errors.RuntimeFailure(f"the container's files cannot be looked at: {error.strerror}") from error
    Viewing(supervisor, reply, started.pidfd, started.sync)


def _joined(subject: Task | None, message: dict[str, Any]) -> int:
    """A descriptor of a mount namespace with the container's root whose mounts may be cloned; -1 when it does not run.

    Raises NotFound, NotSupported: it is to be seen through a user namespace, which it has not, or not any more.
    """
    if not message.get("uids"):
        if subject is None:
            return -1
        if subject.mount_namespace >= 0:
            return subject.mount_namespace
        return subject.pidfd if subject.exit is None else -1
    if subject is None:
        raise errors.NotFound(f"container {message['id']} does not run")
    if subject.outer_mounts < 0:
        lost = "runs in a user namespace whose mounts were lost with an engine and its shim"
        raise errors.NotSupported(f"container {subject.id} {lost}: stop it to copy its files")
    return subject.outer_mounts
