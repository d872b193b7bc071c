"""corten-runtime state, list and ps: what is printed of containers that exist."""

from __future__ import annotations

import os

from corten.errors import CortenError
from corten.oci.runtime import encode
from corten.runtime import state
from corten.runtime.flags import Options
from corten.runtime.state import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def show_state(host: Host, identifier: str) -> str:
    """The state document (runtime-spec, runtime.md "State") with runc's further keys."""
    return encode(_summary(state.load(host.root, identifier), host)) + "\n"


def _summary(held: state.Container, host: Host) -> dict[str, Any]:
    document = held.oci_state(held.status(host.hierarchy))
    path = (held.spec.get("root") or {}).get("path") or ""
    document["rootfs"] = path if path.startswith("/") else f"{document['bundle']}/{path}"
    document["created"] = held.document["created"]
    uid = os.stat(held.directory).st_uid
    document["owner"] = f"#{uid}" if uid else "root"
    return document


def show_list(host: Host, options: Options) -> str:
    """A table, ``--format json`` or ``-q``. A container that cannot be read is a warning."""
    names = state.identifiers(host.root)
    if "quiet" in options.switches:
        return "".join(f"{name}\n" for name in names)
    rows = []
    for name in names:
        try:
            rows.append(_summary(state.load(host.root, name), host))
        except (CortenError, OSError) as error:
            host.warn(f"load container {name}: {error}")
    if options.choice("format", ("table", "json")) == "json":
        return encode(rows) + "\n"
    table = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
    table += [(r["id"], str(r["pid"]), r["status"], r["bundle"], r["created"], r["owner"]) for r in rows]
    widths = [max(len(row[column]) for row in table) + 2 for column in range(5)]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + row[5] + "\n" for row in table
    )


def show_processes(host: Host, arguments: list[str], options: Options) -> str:
    """Pids as JSON, or the host's ps(1) lines of them."""
    pids = state.load(host.root, arguments[0]).group(host.hierarchy).pids()
    if options.choice("format", ("table", "json")) == "json":
        return encode(pids) + "\n"
    lines = _ps(arguments[1:] or ["-ef"]).splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        return "".join(f"{line}\n" for line in lines)
    column = titles.index("PID")
    wanted = {str(pid) for pid in pids}
    chosen = [line for line in lines[1:] if len(line.split()) > column and line.split()[column] in wanted]
    return "\n".join([lines[0], *chosen]) + "\n"


def _ps(arguments: list[str]) -> str:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.posix_spawnp("ps", ["ps", *arguments], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)])
    os.close(writing)
    output = b""
    while chunk := os.read(reading, 65536):
        output += chunk
    os.close(reading)
    os.waitpid(pid, 0)
    return output.decode("utf-8", "replace")
