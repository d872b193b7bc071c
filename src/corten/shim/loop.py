"""The shim's event loop: one epoll, one table of handlers, a few timers.

Level-triggered, and every handler does a bounded piece of work (one read) before the next one's turn: the kernel
moves a descriptor that stays ready to the end of its list, so nobody starves.
"""

from __future__ import annotations

import heapq
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Handler(Protocol):
        """What the loop calls."""

        def ready(self, events: int) -> None:
            """Something of EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR is the case."""


READ = select.EPOLLIN
WRITE = select.EPOLLOUT
HANGUP = select.EPOLLHUP | select.EPOLLERR
_TURN = 64


class Loop:
    """Runs until :meth:`stop`. A handler that fails is reported on stderr and does not end the loop."""

    __slots__ = ("_epoll", "_handlers", "_running", "_soon", "_timers", "_turns")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._soon: list[Callable[[], None]] = []
        self._turns = 0
        self._running = True

    def add(self, descriptor: int, handler: Handler, events: int = READ) -> None:
        """Watch a descriptor; hang-ups and errors are always reported."""
        self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def modify(self, descriptor: int, events: int) -> None:
        """Watch for something else."""
        self._epoll.modify(descriptor, events)

    def remove(self, descriptor: int) -> None:
        """Stop watching; to be called before the descriptor is closed."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def watches(self, descriptor: int) -> bool:
        """Whether :meth:`add` was called and :meth:`remove` was not."""
        return descriptor in self._handlers

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action`` once, later. There is no cancelling: an action looks whether it still applies."""
        self._turns += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._turns, action))

    def soon(self, action: Callable[[], None]) -> None:
        """Call ``action`` after what is ready now was served."""
        self._soon.append(action)

    def stop(self) -> None:
        """End :meth:`run` after this turn."""
        self._running = False

    def run(self) -> None:
        """Serve until :meth:`stop`."""
        while self._running:
            self.turn()

    def turn(self) -> None:
        """One round: descriptors, then what they left to do, then timers."""
        timeout = -1.0
        if self._soon:
            timeout = 0
        elif self._timers:
            timeout = max(0.0, self._timers[0][0] - time.monotonic())
        batch = [(fd, events, self._handlers.get(fd)) for fd, events in self._epoll.poll(timeout, _TURN)]
        for descriptor, events, handler in batch:
            # Not when a handler of this turn removed it, nor when its number was given to something new since.
            if handler is not None and self._handlers.get(descriptor) is handler:
                try:
                    handler.ready(events)
                except Exception:
                    _report()
        actions, self._soon = self._soon, []
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            actions.append(heapq.heappop(self._timers)[2])
        for action in actions:
            try:
                action()
            except Exception:
                _report()


def _report() -> None:
    """The error that is being handled, with its traceback, on stderr (<exec-root>/shim.log)."""
    sys.excepthook(*sys.exc_info())


def note(text: str) -> None:
    """One line for shim.log."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(f"{stamp} {text}", file=sys.stderr, flush=True)
