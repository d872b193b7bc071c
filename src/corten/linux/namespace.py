"""Namespaces and the birth of processes in them: clone3(2), setns(2), unshare(2)."""

from __future__ import annotations

import ctypes
import os

from corten.linux.syscall import call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

CLONE_NEWTIME: Final = 0x80
CLONE_FS: Final = 0x200
CLONE_NEWNS: Final = 0x20000
CLONE_NEWCGROUP: Final = 0x2000000
CLONE_NEWUTS: Final = 0x4000000
CLONE_NEWIPC: Final = 0x8000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
CLONE_PIDFD: Final = 0x1000
CLONE_PARENT: Final = 0x8000
CLONE_INTO_CGROUP: Final = 0x200000000

SIGCHLD: Final = 17

_CloneArguments: Final = ctypes.c_uint64 * 11  # once: each multiplication makes a type, a cycle for the collector


def clone3(flags: int, *, cgroup: int = -1, exit_signal: int = SIGCHLD) -> tuple[int, int]:
    """clone3(2), since Linux 5.3: returns ``(pid, pidfd)`` in the parent and ``(0, -1)`` in the child.

    Only for a process with one thread. ``cgroup`` is a descriptor of a cgroup v2 directory the child is born in
    (CLONE_INTO_CGROUP, since Linux 5.7), -1 for the caller's own.
    """
    pidfd = ctypes.c_int(-1)
    flags |= CLONE_PIDFD
    if cgroup >= 0:
        flags |= CLONE_INTO_CGROUP
    # struct clone_args: flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size cgroup
    arguments = _CloneArguments(flags, ctypes.addressof(pidfd), 0, 0, exit_signal, 0, 0, 0, 0, 0, max(cgroup, 0))
    pid = call("clone3", arguments, ctypes.sizeof(arguments))
    return pid, pidfd.value if pid else -1


def setns(descriptor: int, kind: int) -> None:
    """setns(2). ``descriptor`` is a namespace file, or a pidfd (since Linux 5.8) with several kinds at once."""
    call("setns", descriptor, kind)


def unshare(kinds: int) -> None:
    """unshare(2)."""
    call("unshare", kinds)


def write_map(path: str, ranges: Sequence[tuple[int, int, int]]) -> None:
    """A uid_map or gid_map of /proc/PID, once and in one write: user_namespaces(7)."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, "".join(f"{inside} {outside} {count}\n" for inside, outside, count in ranges).encode())
    finally:
        os.close(fd)


def read_map(path: str) -> list[tuple[int, int, int]]:
    """``(inside, outside, count)`` of each line of a uid_map or gid_map, as the reader's own namespace counts."""
    with open(path, encoding="ascii") as file:
        rows = [line.split() for line in file]
    return [(int(inside), int(outside), int(count)) for inside, outside, count in rows]


def is_shared(pid: int, kind: str) -> bool:
    """Whether process ``pid`` is in the caller's namespace of this kind (a name of /proc/PID/ns)."""
    try:
        return os.stat(f"/proc/{pid}/ns/{kind}").st_ino == os.stat(f"/proc/self/ns/{kind}").st_ino
    except FileNotFoundError:  # the process is gone, or the kernel has no such namespaces
        return True


def sethostname(name: str) -> None:
    """sethostname(2) in the caller's UTS namespace."""
    encoded = name.encode()
    call("sethostname", encoded, len(encoded), operand=name)


def setdomainname(name: str) -> None:
    """setdomainname(2) in the caller's UTS namespace."""
    encoded = name.encode()
    call("setdomainname", encoded, len(encoded), operand=name)
