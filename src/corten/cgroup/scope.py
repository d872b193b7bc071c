"""A cgroup that systemd makes: a transient scope, named by runc's ``slice:prefix:name``.

 (1) a process to put in, for a scope without one does not begin: it does nothing and goes when a container's is there
 (2) StartTransientUnit; the limits are among its properties, or a reload of systemd's would lift them
 (3) the process is in the scope: the unit began, whatever job systemd made of it
 (4) the caller writes all limits, and what systemd has no property for, into the group itself; it is delegated
 (5) the end: StopUnit, and no word about a unit that has gone by itself

Knows systemd's names and units; refuses to know containers.
"""

from __future__ import annotations

import os
import time

from corten.cgroup import resources as limits
from corten.cgroup.dbus import Bus, CallError, connect
from corten.errors import InvalidArgument, RuntimeFailure
from corten.linux import namespace, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Mapping
    from typing import Any, Final
else:
    import _signal

_NAME: Final = "org.freedesktop.systemd1"
_OBJECT: Final = "/org/freedesktop/systemd1"
_MANAGER: Final = f"{_NAME}.Manager"
_EXISTS: Final = f"{_NAME}.UnitExists"
_INFINITY: Final = (1 << 64) - 1
_PATIENCE: Final = 30.0
_PAUSE: Final = 0.002
_QUOTA_STEP: Final = 10_000  # µs: systemd keeps percents

Property = tuple[str, tuple[str, object]]


class Scope:
    """``unit`` in ``slice``; ``path`` is its cgroup."""

    __slots__ = ("path", "slice", "unit")

    def __init__(self, parent: str, unit: str) -> None:
        self.slice = parent
        self.unit = unit
        self.path = f"{expand_slice(parent)}/{unit}"


def parse(text: str, identifier: str) -> Scope:
    """``linux.cgroupsPath`` of the systemd manager, "" for a scope of this runtime's own. Raises InvalidArgument."""
    parts = (text or f"system.slice:corten:{identifier}").split(":")
    if len(parts) != 3:
        raise InvalidArgument(
            f'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "{text}" instead'
        )
    parent, prefix, name = parts
    if not name or "/" in name or "/" in prefix or name.endswith(".slice"):
        raise InvalidArgument(f"linux.cgroupsPath {text!r}: {name!r} cannot be the name of a scope")
    return Scope(parent or "system.slice", f"{prefix}-{name}.scope" if prefix else f"{name}.scope")


def expand_slice(name: str) -> str:
    """The cgroup of a slice: ``a-b.slice`` lies in ``a.slice``, systemd.slice(5). Raises InvalidArgument."""
    stem = name.removesuffix(".slice")
    if stem == name or not stem or "/" in name:
        raise InvalidArgument(f"invalid slice name: {name}")
    if stem == "-":
        return ""
    words = stem.split("-")
    if not all(words):
        raise InvalidArgument(f"invalid slice name: {name}")
    return "".join(f"/{'-'.join(words[:count])}.slice" for count in range(1, len(words) + 1))


def properties(resources: Mapping[str, Any], version: int) -> list[Property]:
    """OCI ``linux.resources`` as far as systemd keeps such limits, for hierarchies of ``version``; pure."""
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    block, pids = resources.get("blockIO") or {}, resources.get("pids") or {}
    found = {**(_memory_v2(memory) if version == 2 else _memory_v1(memory)), **_cpu(cpu, version)}
    if block.get("weight"):
        weight = limits.weight_of_block(block["weight"])
        found.update({"IOWeight": weight} if version == 2 else {"BlockIOWeight": block["weight"]})
    if pids.get("limit"):
        found["TasksMax"] = _limit(pids["limit"])
    made: list[Property] = [(name, ("t", value)) for name, value in found.items()]
    if version == 2:
        names = (("cpus", "AllowedCPUs"), ("mems", "AllowedMemoryNodes"))
        made += [(name, ("ay", bits(cpu[key]))) for key, name in names if cpu.get(key)]
    return made


def _memory_v1(memory: Mapping[str, Any]) -> dict[str, int]:
    return {"MemoryLimit": _limit(memory["limit"])} if memory.get("limit") else {}


def _memory_v2(memory: Mapping[str, Any]) -> dict[str, int]:
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    values = {
        "MemoryMax": limit,
        "MemoryLow": memory.get("reservation") or 0,
        "MemorySwapMax": swap - limit if swap > 0 and limit > 0 else swap,  # OCI counts both together
    }
    kept = {name: _limit(value) for name, value in values.items() if value}
    return {**kept, "MemorySwapMax": 0} if 0 < limit == swap else kept


def _cpu(cpu: Mapping[str, Any], version: int) -> dict[str, int]:
    found: dict[str, int] = {}
    if cpu.get("shares"):
        weight = limits.weight_of_shares(cpu["shares"])
        found.update({"CPUWeight": weight} if version == 2 else {"CPUShares": cpu["shares"]})
    if cpu.get("quota"):
        found["CPUQuotaPerSecUSec"] = _quota(cpu["quota"], cpu.get("period") or 100_000)
    if cpu.get("period"):
        found["CPUQuotaPeriodUSec"] = cpu["period"]
    return found


def bits(text: str) -> bytes:
    """``0,2-3`` as systemd has sets of CPUs: bit n of byte m is number 8m + n. Raises InvalidArgument."""
    number = 0
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            low, high = int(first), int(last if dash else first)
        except ValueError:
            raise InvalidArgument(f"{text!r} is no list of CPUs or memory nodes") from None
        for place in range(low, high + 1):
            number |= 1 << place
    return number.to_bytes((number.bit_length() + 7) // 8, "little")


def _limit(value: int) -> int:
    return value if value >= 0 else _INFINITY


def _quota(quota: int, period: int) -> int:
    """µs of CPU a second, rounded up to what systemd keeps; as runc."""
    if quota < 0:
        return _INFINITY
    value = quota * 1_000_000 // period
    return value + -value % _QUOTA_STEP


class Placeholder:
    """(1) A process that waits to be killed, and is when this one ends."""

    __slots__ = ("pid", "pidfd")

    def __init__(self) -> None:
        self.pid, self.pidfd = namespace.clone3(0)
        if self.pid == 0:
            try:
                process.prctl(process.PR_SET_PDEATHSIG, _signal.SIGKILL)
                while True:
                    _signal.pause()
            finally:
                os._exit(0)

    def end(self) -> None:
        """Its place is a container's now, or nobody's."""
        if self.pidfd < 0:
            return
        try:
            process.pidfd_send_signal(self.pidfd, _signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait_exit(self.pidfd, block=True)
        os.close(self.pidfd)
        self.pidfd = -1


def start(scope: Scope, description: str, wanted: list[Property], pid: int) -> None:
    """(2) (3) The scope with process ``pid`` in it. Raises RuntimeFailure or Unavailable."""
    accounting: list[Property] = [
        (f"{kind}Accounting", ("b", True)) for kind in ("Memory", "CPU", "IO", "Tasks")
    ]  # as runc: systemd then makes the scope in the hierarchies of version 1 as well
    asked: list[Property] = [
        ("Description", ("s", description)),
        ("Slice", ("s", scope.slice)),
        ("Delegate", ("b", True)),
        ("DefaultDependencies", ("b", False)),
        ("PIDs", ("au", [pid])),
        *accounting,
        *wanted,
    ]
    bus = connect()
    try:
        try:
            _start(bus, scope, asked)
        except CallError as error:
            if error.name != _EXISTS:
                raise
            _forgive(bus, "ResetFailedUnit", "s", (scope.unit,))  # one of that name that failed stands in its way
            _start(bus, scope, asked)
    except CallError as error:
        raise RuntimeFailure(f"unable to start unit {scope.unit}: {error}") from None
    finally:
        bus.close()
    deadline = time.monotonic() + _PATIENCE
    while _place(pid) != scope.path:
        if time.monotonic() > deadline:
            raise RuntimeFailure(f"unit {scope.unit} did not begin within {_PATIENCE:g} s: it is in {_place(pid)}")
        time.sleep(_PAUSE)


def _start(bus: Bus, scope: Scope, asked: list[Property]) -> None:
    body = (scope.unit, "replace", asked, ())
    bus.call((_NAME, _OBJECT, _MANAGER, "StartTransientUnit"), "ssa(sv)a(sa(sv))", body)


def _place(pid: int) -> str:
    """The group of ``pid`` in the hierarchy that is systemd's: of version 2, or its own of version 1."""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        places = {names: path for _, names, path in (line.rstrip("\n").split(":", 2) for line in file)}
    return places.get("name=systemd") or places.get("", "")


def change(unit: str, wanted: list[Property]) -> None:
    """Other limits for a unit that is there, until the reboot. Raises RuntimeFailure or Unavailable."""
    if not wanted:
        return
    bus = connect()
    try:
        bus.call((_NAME, _OBJECT, _MANAGER, "SetUnitProperties"), "sba(sv)", (unit, True, wanted))
    except CallError as error:
        raise RuntimeFailure(f"unable to change unit {unit}: {error}") from None
    finally:
        bus.close()


def stop(unit: str) -> None:
    """(5) Its processes were killed. Raises Unavailable."""
    bus = connect()
    try:
        _forgive(bus, "StopUnit", "ss", (unit, "replace"))
        _forgive(bus, "ResetFailedUnit", "s", (unit,))
    finally:
        bus.close()


def _forgive(bus: Bus, member: str, signature: str, body: tuple[str, ...]) -> None:
    try:
        bus.call((_NAME, _OBJECT, _MANAGER, member), signature, body)
    except CallError:  # there is no such unit any more
        pass
