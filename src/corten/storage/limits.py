"""How much each container may write below a directory, where the file system keeps quotas of projects.

Each container with a limit is a project of its own; the numbers go on after the directory's own project, which an
administrator may have chosen (projects(5)), and those that are taken. Knows no containers' records.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corten.errors import InvalidArgument
from corten.linux import quota

#: dockerd's words for a data root without them.
UNSUPPORTED = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"


class Limits:
    """The projects below ``top``. Thread-safe."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self._lock = threading.Lock()
        self._next = 0

    @property
    def supported(self) -> bool:
        """Whether a limit can be kept here; asked each time, because a mount may be made again with other options."""
        with _opened(self._top) as descriptor:
            return quota.limits_projects(descriptor)

    def assign(self, directory: Path, size: int) -> None:
        """Let what will be made in ``directory``, which is empty, take no more than ``size`` bytes.

        (1) the limit, before anything counts  (2) the project. A crash between them leaves a limit without files.

        Raises:
            InvalidArgument: with dockerd's text, limits cannot be kept here.
        """
        with _opened(directory) as descriptor, self._lock:
            if not quota.limits_projects(descriptor):
                raise InvalidArgument(UNSUPPORTED)
            number = quota.project(descriptor)
            if number in (0, self._own()):
                number = self._unused()
            quota.set_limit(descriptor, number, size)  # (1)
            quota.set_project(descriptor, number)  # (2)

    def _own(self) -> int:
        with _opened(self._top) as descriptor:
            return quota.project(descriptor)

    def _unused(self) -> int:
        if not self._next:
            taken = [self._own()]
            for name in os.listdir(self._top):
                try:
                    with _opened(self._top / name) as descriptor:
                        taken.append(quota.project(descriptor))
                except (FileNotFoundError, NotADirectoryError):
                    continue
            self._next = max(taken)
        self._next += 1
        return self._next


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
