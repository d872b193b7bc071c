"""The one door to system calls that Python's ``os`` module lacks.

Owns the numbers (x86-64 and arm64) and the conversion of errno to :class:`OSError`. Refuses to know what any call is
for: policy, fallbacks and texts live with the callers.

``ctypes.PyDLL`` keeps the interpreter lock over the call. That is what makes a raw ``clone3`` safe in a process with
one thread: nobody else can hold a lock in the child.
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

# From 424 on every architecture has the same numbers (Linux 5.1, asm-generic/unistd.h).
_SHARED: Final[Mapping[str, int]] = {
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "quotactl_fd": 443,
}
_X86_64: Final[Mapping[str, int]] = {
    "getcwd": 79, "setfsuid": 122, "setfsgid": 123, "capget": 125, "capset": 126, "personality": 135,
    "fstatfs": 138, "pivot_root": 155, "prctl": 157, "mount": 165, "umount2": 166, "sethostname": 170,
    "setdomainname": 171, "keyctl": 250, "ioprio_set": 251, "unshare": 272, "setns": 308, "sched_setattr": 314,
    "renameat2": 316,
    "seccomp": 317, "bpf": 321, "execveat": 322,
}  # fmt: skip
_ARM64: Final[Mapping[str, int]] = {
    "getcwd": 17, "ioprio_set": 30, "umount2": 39, "mount": 40, "pivot_root": 41, "fstatfs": 44, "capget": 90,
    "capset": 91, "personality": 92, "unshare": 97, "setfsuid": 151, "setfsgid": 152, "sethostname": 161,
    "setdomainname": 162,
    "prctl": 167, "keyctl": 219, "setns": 268, "sched_setattr": 274, "renameat2": 276, "seccomp": 277,
    "bpf": 280, "execveat": 281,
}  # fmt: skip
_BY_MACHINE: Final[Mapping[str, Mapping[str, int]]] = {"x86_64": _X86_64, "aarch64": _ARM64}

MACHINE: Final = os.uname().machine
NUMBERS: Final[Mapping[str, int]] = {**_BY_MACHINE.get(MACHINE, {}), **_SHARED}

_MOST: Final = 6


def _prototypes() -> list[ctypes._NamedFuncPointer]:
    """syscall(2) by its number of arguments. Each is as wide as a register, which ``c_void_p`` takes an integer, bytes,
    an array or None for without another object."""
    libc = ctypes.PyDLL(None, use_errno=True)
    found = []
    for count in range(_MOST + 1):
        function = libc["syscall"]
        function.restype = ctypes.c_long
        function.argtypes = [ctypes.c_long, *[ctypes.c_void_p] * count]
        found.append(function)
    return found


_SYSCALL: Final = _prototypes()


def attempt(name: str, *arguments: object) -> int:
    """As :func:`call`, for a failure that is expected: errno, negative, is the result. An exception costs more than
    the call.
    """
    result: int = _SYSCALL[len(arguments)](NUMBERS[name], *arguments)
    return -ctypes.get_errno() if result == -1 else result


def call(name: str, *arguments: object, operand: str | bytes | int | None = None) -> int:
    """Make the system call ``name``: integers go as registers, bytes and ctypes arrays as pointers, None as NULL.

    Raises :class:`OSError` with the call's name in its text and ``operand`` as its file name.
    """
    result: int = _SYSCALL[len(arguments)](NUMBERS[name], *arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}", operand)
    return result


def zeroed(value: str | bytes) -> bytes:
    """A path or string as the kernel takes it; a NUL inside is refused (it would cut the path short)."""
    encoded = os.fsencode(value)
    if b"\0" in encoded:
        raise ValueError(f"embedded null byte in {value!r}")
    return encoded
