"""Copy between our own standard streams and the container's pty, for ``run`` and ``exec`` in the foreground."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any, Final
else:
    import _signal

_CHUNK: Final = 65536


def copy(master: int, pidfd: int) -> None:
    """Until the process behind ``pidfd`` has ended and its output was read. Our terminal is raw meanwhile."""
    saved = _raw()

    def resized(*unused: object) -> None:
        _copy_size(master)

    _signal.signal(_signal.SIGWINCH, resized)
    _copy_size(master)
    try:
        _loop(master, pidfd)
    finally:
        if saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)


def _loop(master: int, pidfd: int) -> None:
    poll = select.poll()
    poll.register(master, select.POLLIN)
    poll.register(0, select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    ended = False
    while True:
        ready = dict(poll.poll(0 if ended else None))
        if 0 in ready:
            data = os.read(0, _CHUNK)
            if not data:
                poll.unregister(0)
            _write(master, data)
        if master in ready:
            try:
                data = os.read(master, _CHUNK)
            except OSError as error:  # EIO: no process has the terminal open any more
                if error.errno != errno.EIO:
                    raise
                return
            _write(1, data)
        elif ended:
            return
        if pidfd in ready:
            ended = True
            poll.unregister(pidfd)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _raw() -> list[Any] | None:
    try:
        saved = termios.tcgetattr(0)
    except termios.error:
        return None
    mode = termios.tcgetattr(0)
    mode[0] &= ~(termios.BRKINT | termios.ICRNL | termios.INPCK | termios.ISTRIP | termios.IXON)
    mode[1] &= ~termios.OPOST
    mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    termios.tcsetattr(0, termios.TCSADRAIN, mode)
    return saved


def _copy_size(master: int) -> None:
    try:
        size = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))
        fcntl.ioctl(master, termios.TIOCSWINSZ, size)
    except OSError:  # not a terminal
        pass
