"""corten-runtime state, list, ps, kill, delete, pause, resume and update: commands on what exists."""

from __future__ import annotations

import os
import time

from corten.cgroup.hierarchy import Hierarchy
from corten.errors import Conflict, InvalidArgument, NotFound
from corten.linux import process as linux_process
from corten.oci.runtime import decode, encode
from corten.runtime import bundle, launch, state
from corten.runtime.flags import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any, Final
else:
    import _signal

_PATIENCE: Final = 100  # tries of 10 ms until a killed process is gone


def signal_number(text: str) -> int:
    """``TERM``, ``SIGTERM``, ``15``."""
    if text.isdecimal() and 0 < int(text) <= 64:
        return int(text)
    number = getattr(_signal, "SIG" + text.upper().removeprefix("SIG"), None)
    if not isinstance(number, int):
        raise InvalidArgument(f"unknown signal {text!r}")
    return int(number)


def show(command: str, root: str, hierarchy: Hierarchy, arguments: list[str], options: Options) -> str:
    """What ``state``, ``list`` and ``ps`` print."""
    if command == "state":
        return show_state(root, hierarchy, arguments[0])
    if command == "list":
        return show_list(root, hierarchy, options)
    return show_processes(root, hierarchy, arguments, options)


def change(command: str, root: str, hierarchy: Hierarchy, arguments: list[str], options: Options) -> None:
    """Do ``kill``, ``delete``, ``pause`` or ``resume``."""
    if command == "kill":
        kill(root, hierarchy, arguments, options)
    elif command == "delete":
        delete(root, hierarchy, arguments[0], options)
    elif command == "pause":
        pause(root, hierarchy, arguments[0])
    elif command == "resume":
        resume(root, hierarchy, arguments[0])
    else:
        raise InvalidArgument(f"No help topic for '{command}'")


def show_state(root: str, hierarchy: Hierarchy, identifier: str) -> str:
    """What ``runc state`` prints."""
    held = state.load(root, identifier)
    return encode(_summary(held, hierarchy)) + "\n"


def _summary(held: state.Container, hierarchy: Hierarchy) -> dict[str, Any]:
    document = held.oci_state(held.status(hierarchy))
    path = (held.spec.get("root") or {}).get("path") or ""
    document["rootfs"] = path if path.startswith("/") else f"{document['bundle']}/{path}"
    document["created"] = held.document["created"]
    document["owner"] = ""
    return document


def show_list(root: str, hierarchy: Hierarchy, options: Options) -> str:
    """What ``runc list`` prints: a table, ``--format json`` or ``-q``."""
    names = state.identifiers(root)
    if "quiet" in options.switches:
        return "".join(f"{name}\n" for name in names)
    rows = [_summary(state.load(root, name), hierarchy) for name in names]
    if options.values.get("format") == "json":
        return encode(rows) + "\n"
    table = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
    table += [(r["id"], str(r["pid"]), r["status"], r["bundle"], r["created"], "root") for r in rows]
    widths = [max(len(row[column]) for row in table) + 2 for column in range(5)]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + row[5] + "\n" for row in table
    )


def show_processes(root: str, hierarchy: Hierarchy, arguments: list[str], options: Options) -> str:
    """What ``runc ps`` prints: pids as JSON, or the host's ps(1) lines of them."""
    pids = state.load(root, arguments[0]).group(hierarchy).pids()
    if options.values.get("format") == "json":
        return encode(pids) + "\n"
    reading, writing = os.pipe2(os.O_CLOEXEC)
    command = ["ps", *(arguments[1:] or ["-ef"])]
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)])
    os.close(writing)
    output = b""
    while chunk := os.read(reading, 65536):
        output += chunk
    os.close(reading)
    os.waitpid(pid, 0)
    lines = output.decode("utf-8", "replace").splitlines()
    column = lines[0].split().index("PID")
    wanted = {str(pid) for pid in pids}
    chosen = [line for line in lines[1:] if len(line.split()) > column and line.split()[column] in wanted]
    return "\n".join([lines[0], *chosen]) + "\n"


def kill(root: str, hierarchy: Hierarchy, arguments: list[str], options: Options) -> None:
    """One signal to the first process, or with ``--all`` to every process of the group."""
    held = state.load(root, arguments[0])
    number = signal_number(arguments[1] if len(arguments) > 1 else "SIGTERM")
    if "all" in options.switches:
        for pid in held.group(hierarchy).pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        return
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
    if number == _signal.SIGKILL and held.group(hierarchy).is_frozen():
        held.group(hierarchy).thaw()


def delete(root: str, hierarchy: Hierarchy, identifier: str, options: Options) -> None:
    """Remove a stopped container; ``--force`` kills it first and is content when there is none."""
    try:
        held = state.load(root, identifier)
    except NotFound:
        if "force" in options.switches:
            return
        raise
    status = held.status(hierarchy)
    if status not in ("stopped", "created") and "force" not in options.switches:
        raise Conflict(f"cannot delete container {identifier} that is not stopped: {status}")
    if status != "stopped":
        held.group(hierarchy).kill()
        for _ in range(_PATIENCE):
            if not held.alive():
                break
            time.sleep(0.01)
    launch.destroy(held, hierarchy)


def pause(root: str, hierarchy: Hierarchy, identifier: str) -> None:
    """Freeze the group."""
    held = state.load(root, identifier)
    if held.status(hierarchy) not in ("running", "created"):
        raise Conflict("container not running")
    held.group(hierarchy).freeze()


def resume(root: str, hierarchy: Hierarchy, identifier: str) -> None:
    """Thaw the group."""
    held = state.load(root, identifier)
    if held.status(hierarchy) != "paused":
        raise Conflict("container not paused")
    held.group(hierarchy).thaw()


def update(root: str, hierarchy: Hierarchy, identifier: str, options: Options) -> list[str]:
    """Write new limits: ``--resources FILE|-`` or single flags. Returns warnings."""
    held = state.load(root, identifier)
    source = options.values.get("resources")
    if source == "-":
        text = b""
        while chunk := os.read(0, 65536):
            text += chunk
        resources = decode(text)
    else:
        resources = bundle.read_json(source) if source else _resources(options)
    group = held.group(hierarchy)
    group.update(resources)
    return group.warnings


def _resources(options: Options) -> dict[str, Any]:
    fields = {
        "memory": {"limit": "memory", "swap": "memory-swap", "reservation": "memory-reservation"},
        "cpu": {"quota": "cpu-quota", "period": "cpu-period", "shares": "cpu-share"},
        "pids": {"limit": "pids-limit"},
        "blockIO": {"weight": "blkio-weight"},
    }
    made: dict[str, Any] = {}
    for section, names in fields.items():
        found = {key: options.number(flag) for key, flag in names.items() if flag in options.values}
        if found:
            made[section] = found
    for key, flag in (("cpus", "cpuset-cpus"), ("mems", "cpuset-mems")):
        if flag in options.values:
            made.setdefault("cpu", {})[key] = options.values[flag]
    return made
