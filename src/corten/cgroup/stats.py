"""What a group uses, read from the files of v1 or v2: processor, memory, block I/O, processes.

The keys are those of runc's ``events``; what a host has no controller for reads as nothing used. Parsing is apart from
reading, and pure. A group is read once a second for as long as somebody watches it, so a file costs three system calls
and no more.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.cgroup.group import Group

UNLIMITED: Final = (1 << 64) - 1
_PAGE: Final = 32768  # seq_file hands out at most what one read(2) asks for; no file here is longer
_TICK: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_IO_V2: Final = {"rbytes": (0, "Read"), "wbytes": (0, "Write"), "rios": (1, "Read"), "wios": (1, "Write")}
_BLKIO: Final = (("ioServiceBytesRecursive", "io_service_bytes"), ("ioServicedRecursive", "io_serviced"))


# -- parsing -------------------------------------------------------------------------------------------------------


def number(text: str) -> int:
    """One number; ``max`` is :data:`UNLIMITED`, nothing is 0."""
    text = text.strip()
    return UNLIMITED if text == "max" else int(text or 0)


def table(text: str) -> dict[str, int]:
    """``key value`` on each line."""
    words = text.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


def entries(text: str) -> list[dict[str, Any]]:
    """v1's ``MAJOR:MINOR OPERATION VALUE`` lines; the sum of all devices at the end has no device and is left out."""
    made = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3:
            made.append(_entry(words[0], words[1], int(words[2])))
    return made


def io_stat(text: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """v2's ``io.stat`` as entries of bytes, and of operations. A device without any I/O yet has no pairs."""
    made: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for line in text.splitlines():
        device, *pairs = line.split()
        for pair in pairs:
            key, _, value = pair.partition("=")
            if key in _IO_V2:
                place, word = _IO_V2[key]
                made[place].append(_entry(device, word, int(value)))
    return made


def _entry(device: str, operation: str, value: int) -> dict[str, Any]:
    major, _, minor = device.partition(":")
    return {"major": int(major), "minor": int(minor), "op": operation, "value": value}


# -- reading -------------------------------------------------------------------------------------------------------


def cpu(group: Group) -> dict[str, Any]:
    """Nanoseconds: ``usage`` (total, kernel, user, and percpu on v1) and ``throttling``."""
    if group.hierarchy.version == 1:
        spent = table(_text(group, "cpuacct", "cpuacct.stat"))
        usage: dict[str, Any] = {
            "total": number(_text(group, "cpuacct", "cpuacct.usage")),
            "percpu": [int(word) for word in _text(group, "cpuacct", "cpuacct.usage_percpu").split()],
            "kernel": spent.get("system", 0) * _TICK,
            "user": spent.get("user", 0) * _TICK,
        }
        return {"usage": usage, "throttling": _throttling(table(_text(group, "cpu", "cpu.stat")), 1, "throttled_time")}
    spent = table(_text(group, "", "cpu.stat"))  # there without the controller, too
    usage = {
        "total": spent.get("usage_usec", 0) * 1000,
        "kernel": spent.get("system_usec", 0) * 1000,
        "user": spent.get("user_usec", 0) * 1000,
    }
    return {"usage": usage, "throttling": _throttling(spent, 1000, "throttled_usec")}


def _throttling(found: dict[str, int], unit: int, key: str) -> dict[str, int]:
    return {
        "periods": found.get("nr_periods", 0),
        "throttledPeriods": found.get("nr_throttled", 0),
        "throttledTime": found.get(key, 0) * unit,
    }


def memory(group: Group) -> dict[str, Any]:
    """``raw`` is memory.stat; ``usage`` has usage, max, limit and failcnt: how often the limit was met."""
    raw = table(_text(group, "memory", "memory.stat"))
    if group.hierarchy.version == 1:
        return {"cache": raw.get("cache", 0), "raw": raw, "usage": counter(group, "")}
    usage = {
        "usage": number(_text(group, "memory", "memory.current")),
        "max": number(_text(group, "memory", "memory.peak")),  # since Linux 5.19
        "limit": number(_text(group, "memory", "memory.max")),
        "failcnt": table(_text(group, "memory", "memory.events")).get("max", 0),
    }
    return {"cache": raw.get("file", 0), "raw": raw, "usage": usage}


def counter(group: Group, prefix: str) -> dict[str, int]:
    """One of v1's memory counters: of memory itself, ``memsw.``, ``kmem.`` or ``kmem.tcp.``."""
    return {
        "usage": number(_text(group, "memory", f"memory.{prefix}usage_in_bytes")),
        "max": number(_text(group, "memory", f"memory.{prefix}max_usage_in_bytes")),
        "limit": number(_text(group, "memory", f"memory.{prefix}limit_in_bytes")),
        "failcnt": number(_text(group, "memory", f"memory.{prefix}failcnt")),
    }


def swap(group: Group) -> dict[str, int]:
    """v2's swap: usage and limit."""
    return {
        "usage": number(_text(group, "memory", "memory.swap.current")),
        "limit": number(_text(group, "memory", "memory.swap.max")),
    }


def out_of_memory(group: Group) -> int:
    """How often v2 found no memory for the group (the ``oom`` of memory.events)."""
    return table(_text(group, "memory", "memory.events")).get("oom", 0)


def pids(group: Group) -> dict[str, int]:
    """``current`` and ``limit``."""
    return {
        "current": number(_text(group, "pids", "pids.current")),
        "limit": number(_text(group, "pids", "pids.max")),
    }


def blkio(group: Group) -> dict[str, list[dict[str, Any]]]:
    """Bytes and operations by device, those of groups below included."""
    if group.hierarchy.version == 2:
        found = io_stat(_text(group, "io", "io.stat"))
        return {key: found[place] for place, (key, _) in enumerate(_BLKIO)}
    return {key: entries(_text(group, "blkio", f"blkio.throttle.{file}_recursive")) for key, file in _BLKIO}


def _text(group: Group, controller: str, file: str) -> str:
    """The file's text, "" where the host has no such controller or the group is gone."""
    directory = group.directory(controller)
    if not directory:
        return ""
    try:
        fd = os.open(f"{directory}/{file}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, _PAGE).decode("ascii", "replace")
    except OSError:
        return ""
    finally:
        os.close(fd)
