"""When a group has no memory left: how often that cost a process its life, and how to be told as it happens.

v1: an eventfd(2) given to ``cgroup.event_control`` is signalled before the kernel chooses what to kill, of this group
or of one above it that has no memory left, and when the group goes (Documentation/admin-guide/cgroup-v1/memory.rst,
10). Each group counts its own; with ``oom_kill_disable`` nothing is killed, and what touches memory waits.
v2: ``memory.events`` changes, for its other counts too, and has those of the groups below in it
(Documentation/admin-guide/cgroup-v2.rst). inotify(7) tells.

So being told means: look. Parsing is apart from reading, and pure.
"""

from __future__ import annotations

import os

from corten.cgroup.hierarchy import read
from corten.linux import inotify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from corten.cgroup.group import Group

V1: Final = "memory.oom_control"
V2: Final = "memory.events"
_CHANGED: Final = inotify.IN_MODIFY


def count(text: str) -> int:
    """From the text of either file: the processes killed, and one where everybody waits because none may be."""
    found = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    stuck = found.get("oom_kill_disable") == "1" and found.get("under_oom") == "1"
    return int(found.get("oom_kill", 0)) + stuck


def look(group: Group) -> int:
    """How often memory ran out in the group and below it, as the kernel counts now; 0 where it has no such file."""
    directory = group.directory("memory")
    if not directory:
        return 0
    if group.hierarchy.version == 2:
        return count(read(f"{directory}/{V2}"))
    total = count(read(f"{directory}/{V1}"))
    for below in _inner(directory):
        total += count(read(f"{below}/{V1}"))
    return total


def _inner(directory: str) -> list[str]:
    """The groups below; a directory of cgroupfs without any has two links, which costs one call to know."""
    try:
        if os.stat(directory).st_nlink <= 2:
            return []
        found = [entry.path for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
    except OSError:  # it goes at this moment
        return []
    return found + [below for path in found for below in _inner(path)]


def subscribe(group: Group) -> int:
    """v1: an eventfd that becomes readable when to look; it lasts until it is closed. Raises OSError."""
    directory = group.directory("memory")
    control = os.open(f"{directory}/{V1}", os.O_RDONLY | os.O_CLOEXEC)
    told = -1
    try:
        told = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        writer = os.open(f"{directory}/cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(writer, b"%d %d" % (told, control))
        finally:
            os.close(writer)
    except BaseException:
        if told >= 0:
            os.close(told)
        raise
    finally:
        os.close(control)
    return told


def watch(instance: int, group: Group) -> int:
    """v2: have an inotify instance tell when to look; the watch's number, for :func:`inotify.read`. Raises OSError."""
    return inotify.inotify_add_watch(instance, f"{group.directory('memory')}/{V2}", _CHANGED)
