"""What happened, as ``docker events`` tells it: a ring of the latest messages and its live readers.

Owns replay (``since``), the end (``until``) and filters. Refuses to know what a message means: services publish with
Docker's own types, actions and attributes. The ring is memory alone: what happened before the engine's start is told
by nobody, as in Docker.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from corten.api.filters import Filters
from corten.api.types.events import Actor, EventMessage
from corten.errors import InvalidArgument

#: As many as dockerd keeps (moby, daemon/events: eventsLimit).
RING: Final = 256
#: A reader that falls this far behind is cut off: it can come back with ``since``, and the engine's memory is bounded.
BACKLOG: Final = 4096
#: Two events never have the same time, nor does a clock that is adjusted a little take one back; one that is set back
#: further is believed.
_SLEW_NS: Final = 10**9

#: What an id or a name may be filtered by; the last ones are of a swarm, so that nothing here matches them.
_SUBJECTS: Final = ("container", "daemon", "plugin", "volume", "network", "node", "service", "secret", "config")
#: Actions with details behind a colon, which a filter may leave out (moby#25798).
_DETAILED: Final = frozenset({"health_status", "exec_create", "exec_start"})
ACCEPTED_FILTERS: Final = frozenset({*_SUBJECTS, "event", "image", "label", "scope", "type"})


class SlowReaderError(ConnectionError):
    """A reader took events too slowly and has lost some."""


class _Reader:
    """One live reader: messages that wait for it, and whether it has missed any."""

    __slots__ = ("_news", "cut", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[EventMessage] = deque()
        self.cut = False
        self._news = asyncio.Event()

    def tell(self, message: EventMessage) -> None:
        """Another message."""
        if len(self.waiting) >= BACKLOG:
            self.cut = True
            self.waiting.clear()
        if not self.cut:
            self.waiting.append(message)
        self._news.set()

    async def next_before(self, until_ns: int | None) -> EventMessage | None:
        """The next message; None when ``until_ns`` has come first.

        Raises:
            SlowReaderError: it has missed some.
        """
        while not self.waiting:
            if self.cut:
                raise SlowReaderError(f"more than {BACKLOG} events were not read")
            self._news.clear()
            try:
                seconds = None if until_ns is None else max(0.0, (until_ns - time.time_ns()) / 1e9)
                await asyncio.wait_for(self._news.wait(), seconds)
            except TimeoutError:
                return None
        return self.waiting.popleft()


class EventService:
    """Published messages; used on the event loop's thread only."""

    def __init__(self) -> None:
        self._ring: deque[EventMessage] = deque(maxlen=RING)
        self._readers: set[_Reader] = set()
        self._observers: list[tuple[frozenset[str], Callable[[], None]]] = []
        self._last_ns = 0

    @property
    def listeners(self) -> int:
        """How many readers there are."""
        return len(self._readers)

    def publish(self, kind: str, action: str, actor_id: str, attributes: Mapping[str, str] | None = None) -> None:
        """Tell every reader that ``action`` (``start``, ``pull`` ...) happened to the ``kind`` (``container``
        ...) ``actor_id``.
        """
        now = time.time_ns()
        if 0 <= self._last_ns - now < _SLEW_NS:
            now = self._last_ns + 1
        self._last_ns = now
        given = dict(attributes or {})
        message = EventMessage(
            Type=kind,
            Action=action,
            Actor=Actor(ID=actor_id, Attributes=given),
            scope="local",
            time=now // 10**9,
            timeNano=now,
        )
        if kind == "container":
            message.status, message.id, message.from_ = action, actor_id, given.get("image", "")
        elif kind == "image":
            message.status, message.id = action, actor_id
        self._ring.append(message)
        for reader in self._readers:
            reader.tell(message)
        for actions, tell in self._observers:
            if action in actions:
                tell()

    def observe(self, actions: frozenset[str], tell: Callable[[], None]) -> None:
        """``tell`` is called after every message with one of ``actions``: for the engine itself, which is no reader."""
        self._observers.append((actions, tell))

    async def subscribe(
        self, *, since_ns: int | None = None, until_ns: int | None = None, filters: Filters | None = None
    ) -> AsyncIterator[EventMessage]:
        """Messages from ``since_ns`` on (None: only with an ``until_ns`` is there a replay), then live ones until
        ``until_ns`` (None: for ever).

        Raises:
            SlowReaderError: they were not taken fast enough.
        """
        chosen = filters or Filters({})
        check_filters(chosen)
        reader = _Reader()
        self._readers.add(reader)
        try:
            for message in self._history(since_ns, until_ns):
                if matches(message, chosen):
                    yield message
            while True:
                following = await reader.next_before(until_ns)
                if following is None or (until_ns is not None and following.timeNano > until_ns):
                    return
                if matches(following, chosen):
                    yield following
        finally:
            self._readers.discard(reader)

    def _history(self, since_ns: int | None, until_ns: int | None) -> list[EventMessage]:
        if since_ns is None and until_ns is None:
            return []
        return [
            message
            for message in self._ring
            if message.timeNano >= (since_ns or 0) and (until_ns is None or message.timeNano <= until_ns)
        ]


def check_filters(filters: Filters) -> None:
    """Raises InvalidArgument with Docker's text when a key is not an events filter; dockerd ignores such a key."""
    filters.check(ACCEPTED_FILTERS)


def matches(message: EventMessage, filters: Filters) -> bool:
    """Docker's rules: values of a key are alternatives, keys must all match; ids and names match by their beginning,
    whatever the message is about.
    """
    actor = message.Actor
    return (
        _action_matches(message.Action, filters.values("event"))
        and filters.match_any("type", (message.Type,))
        and filters.match_any("scope", (message.scope,))
        and all(_begins(filters.values(kind), actor.ID, actor.Attributes.get("name", "")) for kind in _SUBJECTS)
        and _image_matches(message, filters)
        and filters.match_labels("label", actor.Attributes)
    )


def _action_matches(action: str, wanted: list[str]) -> bool:
    """``exec_start: ls`` answers to its full text, and to its beginning where one of ``_DETAILED`` is asked for."""
    if not wanted or action in wanted:
        return True
    return not _DETAILED.isdisjoint(wanted) and any(action.startswith(value) for value in wanted)


def _begins(wanted: list[str], identifier: str, name: str) -> bool:
    return not wanted or any(identifier.startswith(value) or name.startswith(value) for value in wanted)


def _image_matches(message: EventMessage, filters: Filters) -> bool:
    """An image by id or name, a container by its image's name; a tag may be left out."""
    name = message.Actor.Attributes.get("name" if message.Type == "image" else "image", "")
    names = (message.Actor.ID, name, _without_tag(message.Actor.ID), _without_tag(name))
    return filters.match_any("image", names)


def _without_tag(name: str) -> str:
    bare, colon, tag = name.rpartition(":")
    return bare if colon and "/" not in tag else name


def check_window(since_ns: int | None, until_ns: int | None, shown: tuple[str, str] = ("", "")) -> None:
    """Raises InvalidArgument when ``since`` lies after ``until``; ``shown`` is how the client wrote them."""
    if since_ns is not None and until_ns is not None and since_ns > until_ns:
        raise InvalidArgument(f"`since` time ({shown[0]}) cannot be after `until` time ({shown[1]})")
