"""procfs through descriptors of an instance known to be one.

A path such as ``/proc/sys/...`` may lead anywhere once an image had a word in it (CVE-2025-52881, CVE-2019-19921).
:func:`new` makes a private instance nobody else can mount over; the others work below its descriptor only. Files of
the host's own /proc are read by :func:`start_ticks`, :func:`namespace`, :func:`hears` and :func:`state`, for processes
of the host.
"""

from __future__ import annotations

import os
import time

from corten.linux import mount
from corten.linux.path import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_XDEV, openat2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_INSIDE: Final = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS


def new(attributes: int) -> int:
    """A descriptor of a new, detached procfs mount of the caller's pid namespace: fsopen(2), fsmount(2)."""
    context = mount.fsopen("proc")
    try:
        mount.fscreate(context)
        return mount.fsmount(context, attributes)
    finally:
        os.close(context)


def write(proc: int, path: str, text: str) -> None:
    """Write ``text`` to ``path`` below the procfs root ``proc``, leaving neither the instance nor the tree."""
    fd = openat2(proc, path, os.O_WRONLY, resolve=_INSIDE)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def start_ticks(pid: int) -> int:
    """Field 22 of /proc/PID/stat: start time in clock ticks since boot; with the pid it names one process for ever."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        stat = file.read()
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


def namespace(pid: int, kind: str, ticks: int) -> int:
    """A namespace of the process that has this pid and began at ``ticks``: the descriptor is the caller's.

    Raises ProcessLookupError when it is gone. The start time is compared after the file was opened: the pid was that
    process's all the while, and no process of the host has come by it.
    """
    try:
        fd = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    try:
        same = start_ticks(pid) == ticks
    except OSError:
        same = False
    if not same:
        os.close(fd)
        raise ProcessLookupError(pid)
    return fd


def age_ns(ticks: int) -> int:
    """How long ago :func:`start_ticks` was, to a tick (10 ms): by the clock that nobody sets, clock_gettime(2)."""
    return max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * 10**9 // _TICKS_A_SECOND)


def hears(pid: int, signal: int) -> bool:
    """Whether a signal can reach process 1 of a pid namespace: some thread of it catches the signal, or blocks it to
    wait for it. Else the kernel drops it (pid_namespaces(7), "init"). False when the process is gone.
    """
    bit = 1 << (signal - 1)
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/status", "rb") as file:
                masks = [int(line[8:], 16) for line in file if line.startswith((b"SigBlk:", b"SigCgt:"))]
            if any(mask & bit for mask in masks):
                return True
    except FileNotFoundError:
        pass
    return False


def state(pid: int) -> str:
    """Field 3 of /proc/PID/stat: one letter (``R S D Z T ...``); FileNotFoundError when the process is gone."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        stat = file.read()
    return chr(stat[stat.rindex(b")") + 2])


def interfaces(pid: int) -> dict[str, list[int]]:
    """/proc/PID/net/dev, the interfaces of the process's network namespace: eight counters of what was received, then
    eight of what was sent (bytes, packets, errors, dropped, ...); proc_pid_net(5). Empty when the process is gone.
    """
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii", errors="replace") as file:
            lines = file.readlines()[2:]
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, _, counters = line.rpartition(":")
        found[name.strip()] = [int(word) for word in counters.split()]
    return found


def processor_time(line: str) -> int:
    """The first line of /proc/stat as nanoseconds of all processors: user, nice, system, idle, iowait, irq and softirq
    (steal and guest are no time of this machine's own, or are counted already); proc_stat(5). Pure.
    """
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return sum(map(int, line.split()[1:8])) * tick
