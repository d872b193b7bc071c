"""Limits written to a group's files: all of them, or (when the kernel refuses one) none.

(1) what is written where: :mod:`corten.cgroup.resources`
(2) an order in which no moment contradicts itself: on v1 a limit of memory may never exceed that of memory and swap
(3) each file's present value is remembered, then the new one written; a period refused because the quota is still
    the old one is tried again after the quota
(4) after a refusal what was written is undone, latest first: the order of (2) backwards is an allowed order too
"""

from __future__ import annotations

import errno
import os

from corten.cgroup.hierarchy import read, write
from corten.cgroup.resources import settings_v1, settings_v2, substitute
from corten.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.cgroup.group import Group
    from corten.cgroup.resources import Setting

#: What a kernel or a host without the controller answers.
LACKING: Final = frozenset({errno.ENOENT, errno.EACCES, errno.EOPNOTSUPP, errno.EPERM, errno.EROFS})
_LIMIT, _LIMIT_WITH_SWAP = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
#: With the files that tell how much is in use, and how much was at most.
_MEMORY: Final = {
    _LIMIT: ("memory.usage_in_bytes", "memory.max_usage_in_bytes"),
    _LIMIT_WITH_SWAP: ("memory.memsw.usage_in_bytes", "memory.memsw.max_usage_in_bytes"),
    "memory.max": ("memory.current", "memory.peak"),
}


def write_limits(group: Group, resources: dict[str, Any], *, fresh: bool = False) -> list[str]:
    """The module's list; returns what this host lacks, as sentences. Of a ``fresh`` group, which has no limit yet and
    goes when one is refused, nothing is remembered.

    Raises InvalidArgument for a value that cannot be, or that the kernel refuses.
    """
    try:
        settings = (settings_v1 if group.hierarchy.version == 1 else settings_v2)(resources)  # (1)
    except ValueError as error:
        raise InvalidArgument(str(error)) from None
    present = "" if fresh else read(f"{group.directory('memory')}/{_LIMIT_WITH_SWAP}").strip()
    return _Writer(group, remembers=not fresh).write(in_order(settings, present))


def in_order(settings: list[Setting], memory_and_swap: str) -> list[Setting]:
    """(2); ``memory_and_swap`` is the present limit of both, "" where there is none. Pure."""
    names = [file for _, file, _ in settings]
    if not memory_and_swap or _LIMIT not in names or _LIMIT_WITH_SWAP not in names:
        return settings
    limit = settings[names.index(_LIMIT)]
    rises = int(limit[2]) > int(memory_and_swap)
    return [*(setting for setting in settings if setting != limit), limit] if rises else settings


class _Writer:
    """One round of writing; ``_undo`` is what it has done so far."""

    def __init__(self, group: Group, *, remembers: bool) -> None:
        self._group = group
        self._remembers = remembers
        self._undo: list[tuple[str, str]] = []
        self._warnings: list[str] = []

    def write(self, settings: list[Setting]) -> list[str]:
        waiting = list(settings)
        postponed = False
        while waiting:
            controller, file, value = waiting.pop(0)
            directory = self._group.directory(controller)
            if not directory:
                self._warnings.append(f"this host has no {controller} controller: {file} is not limited")
                continue
            try:
                self._write(directory, file, value)  # (3)
            except OSError as error:
                if error.errno == errno.EINVAL and file == "cpu.cfs_period_us" and waiting and not postponed:
                    postponed = True
                    place = next((i + 1 for i, entry in enumerate(waiting) if entry[1] == "cpu.cfs_quota_us"), 0)
                    waiting.insert(place, (controller, file, value))
                elif error.errno in LACKING:
                    self._warnings.append(f"this host cannot set {file}: {os.strerror(error.errno or 0).lower()}")
                else:
                    self._take_back()  # (4)
                    raise InvalidArgument(_refusal(directory, file, value, error)) from None
        return self._warnings

    def _write(self, directory: str, file: str, value: str) -> None:
        other = substitute(file, value)
        if other is not None and not os.path.exists(f"{directory}/{file}"):
            file, value = other
        path = f"{directory}/{file}"
        before = previous(file, value, read(path)) if self._remembers else None
        write(path, value)
        if before is not None:
            self._undo.append((path, before))

    def _take_back(self) -> None:
        for path, value in reversed(self._undo):
            try:
                write(path, value)
            except OSError:
                continue  # the group is going away


def previous(file: str, value: str, text: str) -> str | None:
    """What to write to bring ``file`` from ``value`` back to where it reads ``text``; None when that cannot be told."""
    lines = text.splitlines()
    if file == "memory.oom_control":
        return lines[0].rpartition(" ")[2] if lines else None
    if file == "io.max":
        device, _, word = value.partition(" ")
        key = word.partition("=")[0]
        words = next((line.split() for line in lines if line.split()[0] == device), [])
        old = next((pair for pair in words if pair.startswith(f"{key}=")), f"{key}=max")
        return f"{device} {old}"
    if ":" in value:  # a line for each device; without one 0 takes the limit away
        device = value.partition(" ")[0]
        return next((line for line in lines if line.split()[0] == device), f"{device} 0")
    return lines[0] if lines else ""


def _refusal(directory: str, file: str, value: str, error: OSError) -> str:
    if error.errno == errno.EBUSY and file in _MEMORY:
        usage, peak = (read(f"{directory}/{name}").strip() or "unknown" for name in _MEMORY[file])
        return f"unable to set memory limit to {value} (current usage: {usage}, peak usage: {peak})"
    return f"failed to write {value!r} to {file}: {os.strerror(error.errno or 0).lower()}"
