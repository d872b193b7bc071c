"""What rename(2) has beyond Python's os module."""

from __future__ import annotations

from corten.linux.syscall import call, zeroed

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def exchange(one: str, other: str) -> None:
    """Two names change what they stand for, in one step: renameat2(2), RENAME_EXCHANGE, since Linux 3.15."""
    call("renameat2", _AT_FDCWD, zeroed(one), _AT_FDCWD, zeroed(other), _RENAME_EXCHANGE, operand=one)
