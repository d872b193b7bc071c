"""corten-runtime events: what a container uses, once or every few seconds, and when the kernel kills in it.

One JSON line an event with runc's keys: ``{"type": "stats"|"oom", "id": ID, "data": {...}}``. Reads the container's
cgroup and nothing else; what a host has no controller for is left out.
"""

from __future__ import annotations

import os
import select
import sys

from corten.cgroup.group import Group
from corten.cgroup.hierarchy import read
from corten.errors import Conflict, InvalidArgument
from corten.linux import process as linux_process
from corten.oci.runtime import encode
from corten.runtime import state
from corten.runtime.flags import Options
from corten.runtime.state import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_UNLIMITED: Final = (1 << 64) - 1
_DEFAULT_INTERVAL: Final = "5s"
_UNITS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_OOM_INTERVAL: Final = 1000  # milliseconds between two looks at the kernel's count
_BLKIO_V1: Final = (
    ("ioServiceBytesRecursive", "blkio.throttle.io_service_bytes_recursive"),
    ("ioServicedRecursive", "blkio.throttle.io_serviced_recursive"),
)
_IO_V2: Final = {"rbytes": (0, "Read"), "wbytes": (0, "Write"), "rios": (1, "Read"), "wios": (1, "Write")}


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
    version = group.hierarchy.version
    made = {
        "cpu": _cpu_v1(group) if version == 1 else _cpu_v2(group),
        "memory": _memory_v1(group) if version == 1 else _memory_v2(group),
        "pids": {"current": _number(group, "pids", "pids.current"), "limit": _number(group, "pids", "pids.max")},
        "blkio": _blkio_v1(group) if version == 1 else _blkio_v2(group),
    }
    if made["pids"]["limit"] == _UNLIMITED:
        made["pids"].pop("limit")
    return made


def _text(group: Group, controller: str, file: str) -> str:
    directory = group.directory(controller)
    return read(f"{directory}/{file}") if directory else ""


def _number(group: Group, controller: str, file: str) -> int:
    text = _text(group, controller, file).strip()
    if text == "max":
        return _UNLIMITED
    return int(text) if text.isdecimal() else 0


def _table(group: Group, controller: str, file: str) -> dict[str, int]:
    found = {}
    for line in _text(group, controller, file).splitlines():
        key, _, value = line.partition(" ")
        if value.isdecimal():
            found[key] = int(value)
    return found


def _throttling(table: dict[str, int], unit: int, key: str) -> dict[str, int]:
    return {
        "periods": table.get("nr_periods", 0),
        "throttledPeriods": table.get("nr_throttled", 0),
        "throttledTime": table.get(key, 0) * unit,
    }


def _cpu_v1(group: Group) -> dict[str, Any]:
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    spent = _table(group, "cpuacct", "cpuacct.stat")
    usage = {
        "total": _number(group, "cpuacct", "cpuacct.usage"),
        "percpu": [int(word) for word in _text(group, "cpuacct", "cpuacct.usage_percpu").split()],
        "kernel": spent.get("system", 0) * tick,
        "user": spent.get("user", 0) * tick,
    }
    return {"usage": usage, "throttling": _throttling(_table(group, "cpu", "cpu.stat"), 1, "throttled_time")}


def _cpu_v2(group: Group) -> dict[str, Any]:
    table = _table(group, "", "cpu.stat")  # there without the controller, too
    usage = {
        "total": table.get("usage_usec", 0) * 1000,
        "kernel": table.get("system_usec", 0) * 1000,
        "user": table.get("user_usec", 0) * 1000,
    }
    return {"usage": usage, "throttling": _throttling(table, 1000, "throttled_usec")}


def _memory_v1(group: Group) -> dict[str, Any]:
    raw = _table(group, "memory", "memory.stat")
    made: dict[str, Any] = {"cache": raw.get("cache", 0), "raw": raw}
    for key, prefix in (("usage", ""), ("swap", "memsw."), ("kernel", "kmem."), ("kernelTCP", "kmem.tcp.")):
        made[key] = {
            name: _number(group, "memory", f"memory.{prefix}{file}")
            for name, file in (
                ("usage", "usage_in_bytes"), ("max", "max_usage_in_bytes"), ("failcnt", "failcnt"),
                ("limit", "limit_in_bytes"),
            )
        }  # fmt: skip
    return made


def _memory_v2(group: Group) -> dict[str, Any]:
    raw = _table(group, "memory", "memory.stat")
    usage = {
        "usage": _number(group, "memory", "memory.current"),
        "max": _number(group, "memory", "memory.peak"),
        "limit": _number(group, "memory", "memory.max"),
        "failcnt": _table(group, "memory", "memory.events").get("max", 0),
    }
    swap = {
        "usage": _number(group, "memory", "memory.swap.current"),
        "limit": _number(group, "memory", "memory.swap.max"),
    }
    return {"cache": raw.get("file", 0), "raw": raw, "usage": usage, "swap": swap}


def _blkio_v1(group: Group) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, file in _BLKIO_V1:
        made[key] = []
        for line in _text(group, "blkio", file).splitlines():
            words = line.split()
            if len(words) == 3:
                made[key].append(_entry(words[0], words[1], int(words[2])))
    return made


def _blkio_v2(group: Group) -> dict[str, Any]:
    made: list[list[dict[str, Any]]] = [[], []]
    for line in _text(group, "io", "io.stat").splitlines():
        device, *pairs = line.split()
        for pair in pairs:
            key, _, value = pair.partition("=")
            if key in _IO_V2:
                place, word = _IO_V2[key]
                made[place].append(_entry(device, word, int(value)))
    return {key: made[place] for place, (key, _) in enumerate(_BLKIO_V1)}


def _entry(device: str, word: str, value: int) -> dict[str, Any]:
    major, _, minor = device.partition(":")
    return {"major": int(major), "minor": int(minor), "op": word, "value": value}
