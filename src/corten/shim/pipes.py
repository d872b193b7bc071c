"""The pipes that become a new process's standard streams."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Pipes:
    """Both ends of a new process's standard streams; -1 where there is none."""

    __slots__ = ("_theirs", "ours", "theirs")

    def __init__(self, *, terminal: bool, stdin: bool, discard: bool) -> None:
        self.ours = {"stdin": -1, "stdout": -1, "stderr": -1}
        self.theirs = [-1, -1, -1]
        if terminal:
            return
        try:
            self._open(stdin=stdin, discard=discard)
        except OSError:
            self.close()
            raise

    def _open(self, *, stdin: bool, discard: bool) -> None:
        if stdin:
            self.theirs[0], self.ours["stdin"] = os.pipe2(os.O_CLOEXEC)
        else:
            self.theirs[0] = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        for number, name in ((1, "stdout"), (2, "stderr")):
            if discard:
                self.theirs[number] = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            else:
                self.ours[name], self.theirs[number] = os.pipe2(os.O_CLOEXEC)

    def close_theirs(self) -> None:
        """After the clone."""
        close(self.theirs)
        self.theirs = [-1, -1, -1]

    def close(self) -> None:
        """When there was no clone."""
        self.close_theirs()
        close(self.ours.values())
        self.ours = dict.fromkeys(self.ours, -1)


def close(descriptors: Iterable[int]) -> None:
    """Close those that are open; -1 is none."""
    for descriptor in descriptors:
        if descriptor >= 0:
            os.close(descriptor)
