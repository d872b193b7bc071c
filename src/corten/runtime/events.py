"""corten-runtime events: what a container uses, once or every few seconds, and when the kernel kills in it.

One JSON line an event with runc's keys: ``{"type": "stats"|"oom", "id": ID, "data": {...}}``. Reads the container's
cgroup and nothing else; what a host has no controller for is left out.
"""

from __future__ import annotations

import os
import select
import sys

from corten.cgroup import stats as usage
from corten.cgroup.group import Group
from corten.errors import Conflict, InvalidArgument
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
_OOM_INTERVAL: Final = 1000  # milliseconds between two looks at the kernel's count


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
    seen, waited = group.oom_count(), interval
    while held.alive():
        if waited >= interval:
            _print("stats", identifier, stats(group))
            waited = 0
        step = min(_OOM_INTERVAL, interval - waited)
        ended = poll.poll(step)
        waited += step
        killed = group.oom_count()
        if killed > seen:
            seen = killed
            _print("oom", identifier, None)
        if ended:
            break
    os.close(pidfd)


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
