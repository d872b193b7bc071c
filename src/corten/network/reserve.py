"""Namespaces made in advance: taking one saves 0.8 of the 2 ms that a container's network costs.

Owns how many are kept. Refuses to know when there is time to make more: :meth:`Reserve.fill` is called by the owner.
They are anonymous and die with this process.
"""

import threading
from collections import deque
from typing import Final

from corten.network.sandbox import Bare, bare

DEPTH: Final = 4


class Reserve:
    """A few bare namespaces; may be used by several threads."""

    def __init__(self, depth: int = DEPTH) -> None:
        self._depth = depth
        self._ready: deque[Bare] = deque()
        self._closed = False
        self._lock = threading.Lock()

    def take(self) -> Bare:
        """One that is ready, else a new one."""
        return self.ready() or bare()

    def ready(self) -> Bare | None:
        """One that is ready; never blocks for long."""
        with self._lock:
            return self._ready.popleft() if self._ready else None

    def fill(self) -> None:
        """Make what is missing; Unavailable when the kernel refuses."""
        while self._wanting():
            fresh = bare()
            with self._lock:
                if not self._closed:
                    self._ready.append(fresh)
                    continue
            fresh.close()

    def _wanting(self) -> bool:
        with self._lock:
            return not self._closed and len(self._ready) < self._depth

    def close(self) -> None:
        """Give up what is ready and keep nothing more."""
        with self._lock:
            self._closed = True
            ready, self._ready = self._ready, deque()
        for namespace in ready:
            namespace.close()
