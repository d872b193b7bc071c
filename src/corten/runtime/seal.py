"""Put the interpreter out of the containers' reach (CVE-2019-5736).

A process that enters a container runs a program of the host; the container may find it as /proc/PID/exe, or be told to
execute /proc/self/exe, and then write to it. So a process that is going to enter containers re-executes itself first
from a detached, read-only clone of the mount its program lies on: writing through any link to it fails with EROFS,
and nobody can remount a mount that is in no namespace. Before Linux 5.12, or where the mount calls are refused, the
program is copied to a sealed memfd.
"""

from __future__ import annotations

import fcntl
import os
import sys

from corten.linux import mount as m
from corten.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

_EXE: Final = "/proc/self/exe"
_ONCE: Final = "_CORTEN_SEALED"
_F_GET_SEALS: Final = 1034
_F_ADD_SEALS: Final = 1033
_ALL_SEALS: Final = 0x1 | 0x2 | 0x4 | 0x8  # SEAL, SHRINK, GROW, WRITE: fcntl(2)
_F_SEAL_WRITE: Final = 0x8


def is_sealed() -> bool:
    """Whether the running program lies on a read-only mount or in a memfd sealed against writing."""
    if os.statvfs(_EXE).f_flag & os.ST_RDONLY:
        return True
    fd = os.open(_EXE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return bool(fcntl.fcntl(fd, _F_GET_SEALS) & _F_SEAL_WRITE)
    except OSError:
        return False
    finally:
        os.close(fd)


def lean_command(module: str) -> list[str]:
    """An argument vector that runs ``module.entry()`` without site-packages, environment or current directory."""
    package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = f"import sys; sys.path.insert(0, {package_root!r}); from {module} import entry; entry()"
    command = [sys.executable, "-I", "-S", "-E"]
    if sys.dont_write_bytecode:
        command.append("-B")
    if sys.pycache_prefix:
        command += ["-X", f"pycache_prefix={sys.pycache_prefix}"]
    return [*command, "-c", code]


def seal(command: Sequence[str]) -> None:
    """Return when the running program is sealed, else execute ``command`` in its place from a sealed copy.

    The marker in the environment only ends a loop where nothing seals; it is never taken as proof. Raises OSError
    when the program cannot be sealed.
    """
    again = os.environ.pop(_ONCE, "")
    if is_sealed():
        process.set_dumpable(on=False)
        return
    if again:
        raise OSError(f"{sys.executable} cannot be sealed: neither a read-only clone of its mount nor a memfd works")
    environment = [f"{name}={value}" for name, value in os.environ.items()] + [f"{_ONCE}=1"]
    try:
        fd = _clone()
    except OSError:
        fd = _copy()
    process.execveat(fd, "", command, environment, process.AT_EMPTY_PATH)


def _clone() -> int:
    fd = m.open_tree(m.AT_FDCWD, _EXE, m.OPEN_TREE_CLONE)
    try:
        m.mount_setattr(fd, "", m.AT_EMPTY_PATH, attr_set=m.MOUNT_ATTR_RDONLY, propagation=m.MS_PRIVATE)
    except OSError:
        os.close(fd)
        raise
    return fd


def _copy() -> int:
    fd = os.memfd_create("corten", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    source = os.open(_EXE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while os.sendfile(fd, source, None, 1 << 24):
            pass
    finally:
        os.close(source)
    fcntl.fcntl(fd, _F_ADD_SEALS, _ALL_SEALS)
    return fd
