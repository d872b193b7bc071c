"""Pseudo terminals: opening a pair on one devpts instance, sizes, controlling terminals."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_PTMX: Final = os.makedev(5, 2)
_TIOCSCTTY: Final = 0x540E
_TIOCSWINSZ: Final = 0x5414
_TIOCSPTLCK: Final = 0x40045431
_TIOCGPTPEER: Final = 0x5441  # since Linux 4.13


def open_pair(devpts: int) -> tuple[int, int]:
    """A pty of the devpts instance whose root directory is ``devpts``: ``(master, slave)``, both close-on-exec.

    The slave comes from the master (TIOCGPTPEER), so no path of a container is resolved for it (CVE-2025-52565).
    """
    master = os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=devpts)
    status = os.fstat(master)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _PTMX:
        os.close(master)
        raise OSError(errno.ENOTTY, "not a pty multiplexer", "ptmx")
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("=i", 0))
    slave: int = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    return master, slave


def set_size(descriptor: int, height: int, width: int) -> None:
    """TIOCSWINSZ, in characters."""
    fcntl.ioctl(descriptor, _TIOCSWINSZ, struct.pack("=HHHH", height, width, 0, 0))


def make_controlling(descriptor: int) -> None:
    """TIOCSCTTY: the caller must be a session leader without a terminal."""
    fcntl.ioctl(descriptor, _TIOCSCTTY, 0)
