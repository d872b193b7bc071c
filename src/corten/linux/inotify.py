"""inotify(7): learn that something in a directory, or a file, changed.

Owns the calls and nothing else: what a change means is the caller's business. Events only say where "something
happened", because they may be merged or dropped by the kernel (inotify(7), "Limitations and caveats"); a caller always
looks at the files again.
"""

from __future__ import annotations

import ctypes
import os
import struct

IN_MODIFY = 0x2
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_ONLYDIR = 0x1000000
IN_NONBLOCK = os.O_NONBLOCK
IN_CLOEXEC = os.O_CLOEXEC

_LIBC = ctypes.CDLL(None, use_errno=True)
_BUFFER = 65536
_EVENT = struct.Struct("=iIII")  # struct inotify_event without its name: wd, mask, cookie, len


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def inotify_init1(flags: int) -> int:
    """A new inotify instance, as a descriptor: inotify_init1(2)."""
    return _checked(_LIBC.inotify_init1(flags), "inotify_init1")


def inotify_add_watch(descriptor: int, path: str, mask: int) -> int:
    """Watch ``path`` for the events in ``mask``; returns the watch's number: inotify_add_watch(2)."""
    return _checked(_LIBC.inotify_add_watch(descriptor, os.fsencode(path), ctypes.c_uint32(mask)), f"watch {path}")


def inotify_rm_watch(descriptor: int, watch: int) -> None:
    """Watch no more: inotify_rm_watch(2). EINVAL when what was watched is gone."""
    _checked(_LIBC.inotify_rm_watch(descriptor, watch), "inotify_rm_watch")


def watches(data: bytes) -> set[int]:
    """The watches in what read(2) took from an instance; -1 when the kernel dropped some (IN_Q_OVERFLOW). Pure."""
    found, place = set(), 0
    while place + _EVENT.size <= len(data):
        number, _, _, length = _EVENT.unpack_from(data, place)
        found.add(number)
        place += _EVENT.size + length
    return found


def drain(descriptor: int) -> bool:
    """Forget the events that are queued on a non-blocking instance; whether there were any."""
    seen = False
    while True:
        try:
            if not os.read(descriptor, _BUFFER):
                return seen
        except BlockingIOError:
            return seen
        seen = True
