"""Runs ``cortend`` so that it can be stopped at any operation that lasts: ``python -m tests.harness.crashpoints
CONTROL-DIRECTORY [cortend's own arguments]``.

Every call that changes a disk, the kernel's network, the shim's world or what a client knows is counted before it is
made: renames, links, removals, creations, syncs, the database's commits (before and after), netlink and nftables,
requests to the shim (before and after) and answers to clients. The same place in the code counts at most :data:`TIMES`
times, so that a layer of a thousand files is a few points and not thousands.

Counting begins with SIGUSR2; CONTROL/point holds the number of the call before which the process kills itself (0:
never). With CONTROL/point there at the start, counting begins at once. CONTROL/places lists what was counted, a line
for each point; the last line of a killed engine is where it died.
"""

from __future__ import annotations

import builtins
import os
import shutil  # noqa: F401  # looks at what os can do with descriptors: before anything is changed
import signal
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

TIMES = 2
CALLS = (
    "rename", "replace", "link", "symlink", "mkdir", "mknod", "rmdir", "unlink", "remove", "truncate", "ftruncate",
    "fsync", "fdatasync", "setxattr", "removexattr", "posix_fallocate", "pwrite",
)  # fmt: skip
_open, _write, _close, _read = os.open, os.write, os.close, os.read


class Points:
    """Counts, and kills."""

    def __init__(self, control: Path) -> None:
        self._control = control
        self._lock = threading.Lock()
        self._armed = False
        self._kill_at = 0
        self._count = 0
        self._seen: Counter[tuple[str, str, int]] = Counter()
        self._places = -1
        if (control / "point").exists():
            self.arm()

    def arm(self, *_: object) -> None:
        """Begin, or begin again."""
        with self._lock:
            descriptor = _open(self._control / "point", os.O_RDONLY)
            self._kill_at = int(_read(descriptor, 32))
            _close(descriptor)
            if self._places >= 0:
                _close(self._places)
            self._places = _open(self._control / "places", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            self._count = 0
            self._seen.clear()
            self._armed = True
            _write(self._places, b"armed\n")

    def passing(self, name: str) -> None:
        """One call is about to be made."""
        if not self._armed:
            return
        where = _caller()
        with self._lock:
            self._seen[name, *where] += 1
            if self._seen[name, *where] > TIMES:
                return
            self._count += 1
            _write(self._places, f"{self._count} {name} {where[0]}:{where[1]}\n".encode())
            if self._count == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def before(self, owner: Any, name: str, label: str = "") -> None:
        """Count the calls of ``owner.name``."""
        original = getattr(owner, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            self.passing(label or name)
            return original(*arguments, **named)

        setattr(owner, name, counted)
        for able in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            if original in able:
                able.add(counted)

    def after(self, owner: Any, name: str, label: str) -> None:
        """Count the calls of ``owner.name`` that have been made."""
        original = getattr(owner, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            answer = original(*arguments, **named)
            self.passing(label)
            return answer

        setattr(owner, name, counted)


def _caller() -> tuple[str, int]:
    """The place in the engine's code that led here."""
    frame = sys._getframe(2)
    while frame.f_back is not None and "/src/corten/" not in frame.f_code.co_filename:
        frame = frame.f_back
    return frame.f_code.co_filename.rpartition("/src/corten/")[2], frame.f_lineno


def creations(points: Points) -> None:
    """os.open and open make files too."""
    opened, built_in = os.open, builtins.open

    def low(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            points.passing("open")
        return opened(path, flags, *arguments, **named)

    def high(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if not isinstance(file, int) and set(mode) & set("wax"):
            points.passing("open")
        return built_in(file, mode, *arguments, **named)

    os.open, builtins.open = low, high
    os.supports_dir_fd.add(low)


def commits(points: Points) -> None:
    """The database's, before and after."""

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:  # type: ignore[override]
            if sql != "COMMIT":
                return super().execute(sql, *arguments)
            points.passing("commit")
            cursor = super().execute(sql)
            points.passing("committed")
            return cursor

    connect: Callable[..., sqlite3.Connection] = sqlite3.connect
    sqlite3.connect = lambda *arguments, **named: connect(*arguments, factory=Connection, **named)  # type: ignore[assignment]


def main() -> int:
    control = Path(sys.argv.pop(1))
    from corten.daemon import main as daemon
    from corten.linux.netlink import libnftables
    from corten.linux.netlink.message import Connection
    from corten.server.outlet import Outlet
    from corten.shim.client import ShimConnection
    from corten.storage import durable

    points = Points(control)
    signal.signal(signal.SIGUSR2, points.arm)
    for name in CALLS:
        points.before(os, name)
    creations(points)
    commits(points)
    points.before(durable, "_syncfs", "syncfs")
    points.before(libnftables, "run", "nft")
    points.before(Connection, "execute", "netlink")
    points.before(ShimConnection, "request", "ask shim")
    points.after(ShimConnection, "request", "shim asked")
    points.before(Outlet, "write", "answer")
    return daemon.entry()


if __name__ == "__main__":
    sys.exit(main())
