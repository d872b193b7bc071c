"""The standard input of one process: a pipe or a terminal that is written as the process reads it.

Owns our end. Refuses to know where input comes from: its owner is told when more is wanted.
"""

from __future__ import annotations

import os

from corten.shim.loop import WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from corten.shim.loop import Loop


class Input:
    """Takes input before the process is there, and keeps what the process does not take at once.

    ``wanted``: the process reads input, and was not told that there is no more. ``once``: its end is the end of the
    first client's. ``changed`` is called when clients may be read again, or no more.
    """

    __slots__ = ("_changed", "_ends", "_loop", "_pending", "descriptor", "once", "wanted")

    def __init__(self, loop: Loop, *, wanted: bool, once: bool, changed: Callable[[], None]) -> None:
        self._loop = loop
        self._changed = changed
        self._pending = b""
        self._ends = False
        self.descriptor = -1
        self.wanted = wanted
        self.once: Final = once

    def open(self, descriptor: int) -> None:
        """Our end, which now belongs to this object; -1 when the process has no input."""
        self.descriptor = descriptor
        if descriptor >= 0:
            os.set_blocking(descriptor, False)
        else:
            self.wanted = False
        pending, self._pending = self._pending, b""
        if pending or self._ends:
            self.feed(pending)

    def waits(self) -> bool:
        """Whether clients' input has to wait: the process does not read, or does not exist yet."""
        return bool(self._pending) or self.descriptor < 0

    def feed(self, data: bytes) -> None:
        """Input for the process; what it does not take now is kept, and clients are not read meanwhile."""
        if not self.wanted:
            return
        if self._pending or self.descriptor < 0:
            self._pending += data
            return
        if not self._write(data):
            self._loop.add(self.descriptor, self, WRITE)
            self._changed()

    def ready(self, events: int) -> None:
        """Called by the loop: it can be written."""
        self._loop.remove(self.descriptor)
        pending, self._pending = self._pending, b""
        self.feed(pending)
        if not self._pending:
            self._changed()

    def end(self) -> None:
        """Close it when everything is written."""
        self._ends = True
        if self.descriptor >= 0 and not self._pending:
            self.close()

    def close(self) -> None:
        """Close our end; nothing is taken any more."""
        self.wanted = False
        self._pending = b""
        if self.descriptor >= 0:
            self._loop.remove(self.descriptor)
            os.close(self.descriptor)
            self.descriptor = -1
            self._changed()

    def _write(self, data: bytes) -> bool:
        """Whether nothing is left to be written later."""
        written = 0
        try:
            if data:
                written = os.write(self.descriptor, data)
        except BlockingIOError:
            pass
        except OSError:  # EPIPE: the process has closed its stdin; EIO: its terminal is gone
            self.close()
            return True
        self._pending = data[written:]
        if self._ends and not self._pending:
            self.close()
        return not self._pending
