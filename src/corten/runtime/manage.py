"""corten-runtime kill, delete, pause, resume and update: commands that change what exists."""

from __future__ import annotations

import os

from corten.errors import Conflict, InvalidArgument, NotFound, NotSupported
from corten.linux import process as linux_process
from corten.oci.runtime import validate_resources
from corten.runtime import bundle, removal, state
from corten.runtime.flags import Options, size
from corten.runtime.state import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any, Final
else:
    import _signal

# flag -> (section, key) of OCI linux.resources
_SIZES: Final = {
    "memory": ("memory", "limit"), "memory-swap": ("memory", "swap"), "memory-reservation": ("memory", "reservation"),
}  # fmt: skip
_NUMBERS: Final = {
    "cpu-quota": ("cpu", "quota"), "cpu-period": ("cpu", "period"), "cpu-burst": ("cpu", "burst"),
    "cpu-share": ("cpu", "shares"), "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"), "cpu-idle": ("cpu", "idle"), "pids-limit": ("pids", "limit"),
    "blkio-weight": ("blockIO", "weight"),
}  # fmt: skip
_TEXTS: Final = {"cpuset-cpus": ("cpu", "cpus"), "cpuset-mems": ("cpu", "mems")}


def signal_number(text: str) -> int:
    """``TERM``, ``SIGTERM``, ``15``."""
    if text.isdecimal() and len(text) < 3 and int(text) <= 64:
        return int(text)
    number = getattr(_signal, "SIG" + text.upper().removeprefix("SIG"), None)
    if not isinstance(number, int):
        raise InvalidArgument(f"unknown signal {text!r}")
    return int(number)


def kill(host: Host, arguments: list[str], options: Options) -> None:
    """One signal to the first process, or with ``--all`` to every process of the group."""
    held = state.load(host.root, arguments[0])
    number = signal_number(arguments[1] if len(arguments) > 1 else "SIGTERM")
    group = held.group(host.hierarchy)
    if "all" in options.switches:
        for pid in group.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
    else:
        _signal_first(held, number)
    if number == _signal.SIGKILL and group.is_frozen():
        group.thaw()


def _signal_first(held: state.Container, number: int) -> None:
    if held.pid <= 0:
        raise Conflict("container not running")
    try:
        pidfd = linux_process.pidfd_open(held.pid)
    except ProcessLookupError:
        raise Conflict("container not running") from None
    try:
        if not held.alive():  # after pidfd_open: the descriptor and the answer are about the same process
            raise Conflict("container not running")
        linux_process.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)


def delete(host: Host, identifier: str, options: Options) -> None:
    """Remove a stopped container; ``--force`` kills it first and is content when there is none."""
    force = "force" in options.switches
    try:
        held = state.load(host.root, identifier)
    except NotFound:
        if force:  # what a create left that was killed before it wrote its state
            state.Container(host.root, identifier, {}).remove()
            return
        raise
    removal.delete(host, held, force=force)


def pause(host: Host, identifier: str) -> None:
    """Freeze the group."""
    held = state.load(host.root, identifier)
    status = held.status(host.hierarchy)
    if status not in ("running", "created"):
        raise Conflict("container not running" if status == "stopped" else f"container already {status}")
    held.group(host.hierarchy).freeze()


def resume(host: Host, identifier: str) -> None:
    """Thaw the group."""
    held = state.load(host.root, identifier)
    if held.status(host.hierarchy) != "paused":
        raise Conflict("container not paused")
    held.group(host.hierarchy).thaw()


def update(host: Host, identifier: str, options: Options) -> None:
    """Write new limits: ``--resources FILE|-`` or single flags."""
    for flag in ("l3-cache-schema", "mem-bw-schema"):
        if options.values.get(flag):
            raise NotSupported(f"update --{flag} is not supported: there is no linux.intelRdt")
    held = state.load(host.root, identifier)
    if held.status(host.hierarchy) == "stopped":
        raise Conflict("container not running")
    source = options.values.get("resources")
    if source == "-":
        resources = bundle.parse(bundle.read_all(0, "-"), "-")
    else:
        resources = bundle.read_json(source) if source else _resources(options)
    validate_resources(resources)
    resources.pop("devices", None)  # runc's rule: the allow list is that of the creation
    group = held.group(host.hierarchy)
    if held.unit:
        from corten.runtime import scopes

        scopes.change(host, held.unit, resources)
    group.update(resources)
    for text in group.warnings:
        host.warn(text)


def _resources(options: Options) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for flag, (section, key) in _SIZES.items():
        if flag in options.values:
            made.setdefault(section, {})[key] = size(options.values[flag], flag)
    for flag, (section, key) in _NUMBERS.items():
        if flag in options.values:
            made.setdefault(section, {})[key] = options.number(flag)
    for flag, (section, key) in _TEXTS.items():
        if flag in options.values:
            made.setdefault(section, {})[key] = options.values[flag]
    return made
