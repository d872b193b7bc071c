"""How a process ended, also when it was another shim's child.

(1) our child: waitid(2) on its pidfd;
(2) a stranger that its parent has reaped: PIDFD_GET_INFO, Linux 6.15;
(3) a stranger nobody has reaped yet: the exit code in /proc/PID/stat, if it is still the same process;
(4) else unknown: code 255 and ``unknown``, never 0.
"""

from __future__ import annotations

import os

from corten.linux import process

UNKNOWN = 255


class Exit:
    """``code`` as a shell counts (128 + signal), ``at`` in ns since the epoch; of the whole run ``oom_kills``, and its
    length ``ran_ns`` by a clock that nobody sets.
    """

    __slots__ = ("at", "code", "oom_kills", "ran_ns", "signal", "unknown")

    def __init__(self, code: int, signal: int, at: int, *, ran_ns: int = 0, unknown: bool = False) -> None:
        self.code = code
        self.signal = signal
        self.at = at
        self.oom_kills = 0
        self.ran_ns = ran_ns
        self.unknown = unknown

    def document(self) -> dict[str, int | bool]:
        """The fields of an ``exited`` event."""
        return {name: getattr(self, name) for name in self.__slots__}


def collect(pidfd: int, pid: int, start_ticks: int) -> tuple[int, int] | None:
    """``(code, signal)``; None when it cannot be told (yet, or ever). The pidfd is known to be readable."""
    try:
        status = process.wait_exit(pidfd, block=False)  # (1)
    except ChildProcessError:
        return process.exit_of_stranger(pidfd) or _from_zombie(pid, start_ticks)  # (2) (3)
    return status


def identify(pid: int, start_ticks: int) -> int | None:
    """A pidfd of the process that had this pid and start time, None when it is gone."""
    try:
        pidfd = process.pidfd_open(pid)
    except OSError:
        return None
    fields = _stat(pid)  # after the open: what is read now is of the process the descriptor names, or of none
    if fields is None or int(fields[19]) != start_ticks:
        os.close(pidfd)
        return None
    return pidfd


def _from_zombie(pid: int, start_ticks: int) -> tuple[int, int] | None:
    fields = _stat(pid)
    if fields is None or fields[0] != b"Z" or int(fields[19]) != start_ticks:
        return None
    status = int(fields[49])  # field 52 of proc_pid_stat(5), shown to whoever may ptrace
    number = status & 0x7F
    return (128 + number, number) if number else (status >> 8 & 0xFF, 0)


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat from the third on, None when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    return text[text.rindex(b")") + 2 :].split()
