"""corten-runtime events: what a container uses, once or every few seconds, and when the kernel kills in it.

One JSON line an event with runc's keys: ``{"type": "stats"|"oom", "id": ID, "data": {...}}``. Reads the container's
cgroup and nothing else; what a host has no controller for is left out.
"""

from __future__ import annotations

import math
import os
import select
import sys
import time

from corten.cgroup import shortage
from corten.cgroup import stats as usage
from corten.cgroup.group import Group
from corten.errors import Conflict, InvalidArgument
from corten.linux import inotify
from corten.linux import process as linux_process
from corten.oci.runtime import encode
from corten.runtime import state
from corten.runtime.flags import Options
from corten.runtime.state import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_DEFAULT_INTERVAL: Final = "5s"
_UNITS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
#: The kernel counts a moment after it tells: so many looks, with so many milliseconds between them.
_LOOKS: Final = 25
_LOOK_AGAIN: Final = 20
_READ: Final = 65536


def show(host: Host, identifier: str, options: Options) -> None:
    """``--stats`` once; else every ``--interval`` until the container has ended."""
    interval = milliseconds(options.values.get("interval") or _DEFAULT_INTERVAL)
    held = state.load(host.root, identifier)
    if held.status(host.hierarchy) == "stopped":
        raise Conflict(f"container with id {identifier} is not running")
    group = held.group(host.hierarchy)
    if "stats" in options.switches:
        _print("stats", identifier, stats(group))
        return
    pidfd = linux_process.pidfd_open(held.pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    alarm = _alarm(group)
    if alarm >= 0:
        poll.register(alarm, select.POLLIN)
    seen, due = shortage.look(group), time.monotonic()
    looks = 0
    while held.alive():
        if time.monotonic() >= due:
            _print("stats", identifier, stats(group))
            due = time.monotonic() + interval / 1000
        wait = max(0, math.ceil((due - time.monotonic()) * 1000))
        told = {number for number, _ in poll.poll(min(wait, _LOOK_AGAIN) if looks else wait)}
        if alarm in told:
            os.read(alarm, _READ)
        looks = _LOOKS if alarm in told else max(0, looks - 1)
        killed = shortage.look(group)
        if killed > seen:
            seen, looks = killed, 0
            _print("oom", identifier, None)
        if pidfd in told:
            break


def _alarm(group: Group) -> int:
    """A descriptor to poll that tells when to look for a kill, -1 where the host has none to give."""
    try:
        if group.hierarchy.version == 1:
            return shortage.subscribe(group)
        instance = inotify.inotify_init1(inotify.IN_NONBLOCK | inotify.IN_CLOEXEC)
        shortage.watch(instance, group)
    except OSError:
        return -1
    return instance


def _print(kind: str, identifier: str, data: dict[str, Any] | None) -> None:
    event: dict[str, Any] = {"type": kind, "id": identifier}
    if data is not None:
        event["data"] = data
    sys.stdout.write(encode(event) + "\n")
    sys.stdout.flush()


def milliseconds(text: str) -> int:
    """A duration such as ``5s`` or ``500ms``."""
    digits = text.rstrip("hms")
    unit = _UNITS.get(text[len(digits) :])
    if unit is None or not digits.isascii() or not digits.isdecimal():
        raise InvalidArgument(f'invalid value "{text}" for flag -interval: parse error')
    if int(digits) == 0:
        raise InvalidArgument("duration interval must be greater than 0")
    return int(digits) * unit


def stats(group: Group) -> dict[str, Any]:
    """What runc calls ``data``, from the files of v1 or v2."""
    memory, pids = usage.memory(group), usage.pids(group)
    if group.hierarchy.version == 1:
        for key, prefix in (("swap", "memsw."), ("kernel", "kmem."), ("kernelTCP", "kmem.tcp.")):
            memory[key] = usage.counter(group, prefix)
    else:
        memory["swap"] = usage.swap(group)
    if pids["limit"] == usage.UNLIMITED:
        pids.pop("limit")
    return {"cpu": usage.cpu(group), "memory": memory, "pids": pids, "blkio": usage.blkio(group)}
