"""Processes: pidfds, prctl(2), close_range(2), execveat(2), exit information. Knows nothing of containers."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

from corten.linux.syscall import call, zeroed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Sequence
    from typing import Final
else:
    import _signal

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_KEEPCAPS: Final = 8
PR_SET_NAME: Final = 15
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38

CLOSE_RANGE_CLOEXEC: Final = 4
AT_EMPTY_PATH: Final = 0x1000

_KEYCTL_JOIN_SESSION_KEYRING: Final = 1

_PIDFD_GET_INFO: Final = 0xC040FF0B  # _IOWR(0xFF, 11, 64 bytes), linux/pidfd.h since Linux 6.13
_PIDFD_INFO_EXIT: Final = 1 << 3  # since Linux 6.15
_PIDFD_INFO_SIZE: Final = 64
_EXIT_CODE_OFFSET: Final = 60
_NO_ID: Final = 0xFFFFFFFF


def prctl(option: int, value: int = 0, third: int = 0) -> int:
    """prctl(2)."""
    return call("prctl", option, value, third, 0, 0, operand=option)


def set_file_ids(uid: int, gid: int) -> None:
    """setfsuid(2) and setfsgid(2): as whom the caller makes files. Leaving 0 takes file capabilities out of force.

    These calls report nothing, so they are asked again with an id that cannot be.
    """
    call("setfsgid", gid)
    call("setfsuid", uid)
    if call("setfsgid", _NO_ID) != gid or call("setfsuid", _NO_ID) != uid:
        raise OSError(errno.EPERM, "setfsuid: the file system ids were not changed", f"{uid}:{gid}")


def set_dumpable(*, on: bool) -> None:
    """PR_SET_DUMPABLE: off makes /proc/PID/{exe,fd,mem,root} need CAP_SYS_PTRACE in the creator's user namespace."""
    prctl(PR_SET_DUMPABLE, 1 if on else 0)


def set_child_subreaper() -> None:
    """PR_SET_CHILD_SUBREAPER for the caller."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def set_no_new_privs() -> None:
    """PR_SET_NO_NEW_PRIVS; cannot be undone."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def set_name(name: bytes) -> None:
    """PR_SET_NAME: at most 15 bytes."""
    call("prctl", PR_SET_NAME, name[:15] + b"\0", 0, 0, 0)


def replace_command_line(title: bytes) -> None:
    """What /proc/PID/cmdline shows from now on: ``title`` alone; /proc/PID/environ becomes zeros.

    Overwrites the strings themselves (PR_SET_MM needs CAP_SYS_RESOURCE). A last byte that is not zero makes the
    kernel stop at the first one that is (fs/proc/base.c, get_mm_cmdline). Reads /proc/self/stat: to be called while
    that is the host's. ``os.environ`` keeps its copy.
    """
    with open("/proc/self/stat", "rb") as file:
        text = file.read()
    fields = text[text.rindex(b")") + 2 :].split()
    arguments, end, environment, last = map(int, fields[45:49])  # fields 48 to 51 of proc_pid_stat(5)
    if end - arguments < 3:
        return
    shown = title[: end - arguments - 2]
    ctypes.memset(environment, 0, last - environment)
    ctypes.memset(arguments, 0, end - arguments)
    ctypes.memmove(arguments, shown, len(shown))
    ctypes.memset(end - 1, 1, 1)


def set_keep_capabilities(*, on: bool) -> None:
    """PR_SET_KEEPCAPS: keep the permitted set over the change from uid 0."""
    prctl(PR_SET_KEEPCAPS, 1 if on else 0)


def join_session_keyring(name: bytes | None) -> None:
    """keyctl(2) KEYCTL_JOIN_SESSION_KEYRING: a session keyring of the caller's own, nameless with None."""
    call("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, None if name is None else name + b"\0", 0, 0, 0)


def close_range(first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> None:
    """close_range(2), since Linux 5.9 (CLOSE_RANGE_CLOEXEC since 5.11)."""
    call("close_range", first, last, flags)


def pidfd_open(pid: int) -> int:
    """pidfd_open(2), since Linux 5.3."""
    return os.pidfd_open(pid)


def pidfd_getfd(pidfd: int, descriptor: int) -> int:
    """pidfd_getfd(2), since Linux 5.6: a copy of another process's descriptor."""
    return call("pidfd_getfd", pidfd, descriptor, 0)


def pidfd_send_signal(pidfd: int, number: int) -> None:
    """pidfd_send_signal(2), since Linux 5.1."""
    _signal.pidfd_send_signal(pidfd, number)


def wait_exit(pidfd: int, *, block: bool) -> tuple[int, int] | None:
    """Reap a child by its pidfd: ``(code, signal)`` with one of them 0, None while it runs (``block=False``).

    Raises ChildProcessError when it is not the caller's child.
    """
    options = os.WEXITED if block else os.WEXITED | os.WNOHANG
    result = os.waitid(os.P_PIDFD, pidfd, options)
    if result is None:
        return None
    if result.si_code == os.CLD_EXITED:
        return result.si_status, 0
    return 128 + result.si_status, result.si_status


def exit_of_stranger(pidfd: int) -> tuple[int, int] | None:
    """``(code, signal)`` of a dead process that is not our child, from its pidfd: PIDFD_GET_INFO, Linux 6.15.

    None when it was not reaped yet or the kernel is older: the exit is then unknown, and never to be taken as 0.
    """
    buffer = bytearray(_PIDFD_INFO_SIZE)
    struct.pack_into("=Q", buffer, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, buffer)
    except OSError:
        return None
    if not struct.unpack_from("=Q", buffer, 0)[0] & _PIDFD_INFO_EXIT:
        return None
    status: int = struct.unpack_from("=i", buffer, _EXIT_CODE_OFFSET)[0]
    number = status & 0x7F
    return (128 + number, number) if number else (status >> 8 & 0xFF, 0)


def execveat(directory: int, path: str, arguments: Sequence[str], environment: Sequence[str], flags: int) -> None:
    """execveat(2): with AT_EMPTY_PATH the program is the descriptor itself. Returns only by raising."""
    argv = (ctypes.c_char_p * (len(arguments) + 1))(*[zeroed(a) for a in arguments], None)
    envp = (ctypes.c_char_p * (len(environment) + 1))(*[zeroed(e) for e in environment], None)
    call("execveat", directory, zeroed(path), argv, envp, flags, operand=path)


def getcwd() -> str:
    """getcwd(2) as the kernel says it: "(unreachable)/..." for a directory outside the caller's root."""
    buffer = ctypes.create_string_buffer(4096)
    call("getcwd", buffer, len(buffer))
    return os.fsdecode(buffer.value)
