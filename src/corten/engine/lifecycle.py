"""The life of a container as one table; pure.

``created --start--> running --exit--> exited --start--> running``, with ``paused`` beside ``running``, ``restarting``
between two runs, and ``removing`` at the end. Docker's booleans (Running, Paused, Restarting, Dead) are not stored
anywhere: :mod:`corten.engine.containers.render` derives them from the status.
"""

import enum
from collections.abc import Mapping
from typing import Final

from corten.errors import InvalidTransition


class Status(enum.StrEnum):
    """Docker's own words, as ``docker ps --filter status=`` takes them."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"


class Event(enum.StrEnum):
    """What may happen to a container."""

    START = "start"
    EXIT = "exit"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    RETRY = "retry"
    REMOVE = "remove"
    FAIL = "fail"


TRANSITIONS: Final[Mapping[tuple[Status, Event], Status]] = {
    (Status.CREATED, Event.START): Status.RUNNING,
    (Status.EXITED, Event.START): Status.RUNNING,
    (Status.RESTARTING, Event.START): Status.RUNNING,
    (Status.RUNNING, Event.EXIT): Status.EXITED,
    (Status.PAUSED, Event.EXIT): Status.EXITED,
    (Status.RESTARTING, Event.EXIT): Status.EXITED,
    (Status.RUNNING, Event.PAUSE): Status.PAUSED,
    (Status.PAUSED, Event.UNPAUSE): Status.RUNNING,
    (Status.EXITED, Event.RETRY): Status.RESTARTING,
    (Status.CREATED, Event.REMOVE): Status.REMOVING,
    (Status.EXITED, Event.REMOVE): Status.REMOVING,
    (Status.REMOVING, Event.REMOVE): Status.REMOVING,
    (Status.DEAD, Event.REMOVE): Status.REMOVING,
    (Status.REMOVING, Event.FAIL): Status.DEAD,
}

#: A first process exists.
ALIVE: Final = frozenset({Status.RUNNING, Status.PAUSED})
#: Docker's ``Running``: a first process exists, or its policy is about to start another.
ACTIVE: Final = ALIVE | {Status.RESTARTING}


def advance(status: Status, event: Event) -> Status:
    """The status after ``event``.

    Raises:
        InvalidTransition: the table has no such row.
    """
    try:
        return TRANSITIONS[status, event]
    except KeyError:
        raise InvalidTransition(status.value, event.value) from None
