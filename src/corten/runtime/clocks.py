"""A time namespace of the container's own: its offsets can be written only before a process is in it."""

from __future__ import annotations

import os

from corten.errors import RuntimeFailure
from corten.linux import namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_OFFSETS: Final = "/proc/self/timens_offsets"
_FOR_CHILDREN: Final = "/proc/self/ns/time_for_children"
_OWN: Final = "/proc/self/ns/time"


def enter(offsets: dict[str, Any]) -> None:
    """Make a time namespace, write OCI ``linux.timeOffsets`` and move the calling process in. Reads the host's /proc.

    unshare(2) makes the namespace for children only; setns(2) with what it made then takes the caller along.
    """
    try:
        namespace.unshare(namespace.CLONE_NEWTIME)
        lines = [f"{clock} {value.get('secs') or 0} {value.get('nanosecs') or 0}\n" for clock, value in offsets.items()]
        if lines:
            fd = os.open(_OFFSETS, os.O_WRONLY | os.O_CLOEXEC)
            os.write(fd, "".join(lines).encode())  # one write(2): the file takes all clocks at once
            os.close(fd)
        fd = os.open(_FOR_CHILDREN, os.O_RDONLY | os.O_CLOEXEC)
        namespace.setns(fd, namespace.CLONE_NEWTIME)
        os.close(fd)
    except OSError as error:
        text = os.strerror(error.errno or 0).lower()
        raise RuntimeFailure(f"linux.timeOffsets: the time namespace cannot be made: {text}") from None


def kind_to_join(pid: int) -> int:
    """CLONE_NEWTIME when process ``pid`` is in another time namespace than the caller, else 0."""
    try:
        return namespace.CLONE_NEWTIME if os.readlink(f"/proc/{pid}/ns/time") != os.readlink(_OWN) else 0
    except FileNotFoundError:  # a kernel without them, or the process is gone, which setns(2) says better
        return 0
