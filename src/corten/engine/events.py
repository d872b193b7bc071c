"""What happened, as ``docker events`` tells it: a ring of the latest messages and its live readers.

Owns replay (``since``), the end (``until``) and filters. Refuses to know what a message means: services publish with
Docker's own types, actions and attributes.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Final

from corten.api.filters import Filters
from corten.api.types.events import Actor, EventMessage
from corten.errors import InvalidArgument

#: dockerd keeps 256.
RING: Final = 512
#: A reader that falls this far behind loses its connection's oldest messages, never the engine's memory.
BACKLOG: Final = 4096

ACCEPTED_FILTERS: Final = frozenset(
    {
        "config",
        "container",
        "daemon",
        "event",
        "image",
        "label",
        "network",
        "node",
        "plugin",
        "scope",
        "secret",
        "service",
        "type",
        "volume",
    }
)


class EventService:
    """Published messages; used on the event loop's thread only."""

    def __init__(self) -> None:
        self._ring: deque[EventMessage] = deque(maxlen=RING)
        self._readers: set[asyncio.Queue[EventMessage]] = set()
        self._last_ns = 0

    @property
    def listeners(self) -> int:
        """How many readers there are."""
        return len(self._readers)

    def publish(self, kind: str, action: str, actor_id: str, attributes: Mapping[str, str] | None = None) -> None:
        """Tell every reader that ``action`` (``start``, ``pull`` ...) happened to the ``kind`` (``container``
        ...) ``actor_id``.
        """
        now = max(time.time_ns(), self._last_ns + 1)
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
            if reader.full():
                reader.get_nowait()
            reader.put_nowait(message)

    async def subscribe(
        self, *, since_ns: int | None = None, until_ns: int | None = None, filters: Filters | None = None
    ) -> AsyncIterator[EventMessage]:
        """Messages after ``since_ns`` (None = from now on), then live ones until ``until_ns`` (None = for ever)."""
        chosen = filters or Filters({})
        check_filters(chosen)
        queue: asyncio.Queue[EventMessage] = asyncio.Queue(BACKLOG)
        self._readers.add(queue)
        try:
            for message in list(self._ring) if since_ns is not None else ():
                late = until_ns is not None and message.timeNano > until_ns
                if since_ns is not None and message.timeNano >= since_ns and not late and matches(message, chosen):
                    yield message
            while True:
                following = await _next_before(queue, until_ns)
                if following is None:
                    return
                if matches(following, chosen):
                    yield following
        finally:
            self._readers.discard(queue)


async def _next_before(queue: asyncio.Queue[EventMessage], until_ns: int | None) -> EventMessage | None:
    if until_ns is None:
        return await queue.get()
    try:
        return await asyncio.wait_for(queue.get(), max(0.0, (until_ns - time.time_ns()) / 1e9))
    except TimeoutError:
        return None


def check_filters(filters: Filters) -> None:
    """Raises InvalidArgument with Docker's text when a key is not an events filter."""
    filters.check(ACCEPTED_FILTERS)


def matches(message: EventMessage, filters: Filters) -> bool:
    """Docker's rules: values of a key are alternatives, keys must all match; containers and images match by id,
    name or prefix.
    """
    attributes = message.Actor.Attributes
    return (
        _any(filters, "type", (message.Type,))
        and (not filters.has("event") or _action_matches(message, filters))
        and _any(filters, "scope", (message.scope,))
        and filters.match_labels("label", attributes)
        and all(
            _subject_matches(message, filters, kind) for kind in ("container", "volume", "network", "daemon", "plugin")
        )
        and _image_matches(message, filters)
    )


def _any(filters: Filters, key: str, values: tuple[str, ...]) -> bool:
    wanted = filters.values(key)
    return not wanted or any(value in wanted for value in values)


def _action_matches(message: EventMessage, filters: Filters) -> bool:
    """``exec_start: ls`` answers to ``exec_start`` and to its full text."""
    wanted = filters.values("event")
    return message.Action in wanted or message.Action.partition(":")[0] in wanted


def _subject_matches(message: EventMessage, filters: Filters, kind: str) -> bool:
    wanted = filters.values(kind)
    if not wanted:
        return True
    if message.Type != kind:
        attribute = message.Actor.Attributes.get(kind, "")
        return kind == "container" and bool(attribute) and attribute in wanted
    name = message.Actor.Attributes.get("name", "")
    return any(value == name or message.Actor.ID.startswith(value) for value in wanted)


def _image_matches(message: EventMessage, filters: Filters) -> bool:
    wanted = filters.values("image")
    if not wanted:
        return True
    image = message.Actor.Attributes.get("image" if message.Type == "container" else "name", "")
    bare = image.rpartition(":")[0] or image
    return any(value in (image, bare, message.Actor.ID) for value in wanted)


def check_window(since_ns: int | None, until_ns: int | None) -> None:
    """Raises InvalidArgument when ``since`` lies after ``until``."""
    if since_ns is not None and until_ns is not None and since_ns > until_ns:
        raise InvalidArgument(f"`since` time ({since_ns // 10**9}) cannot be after `until` time ({until_ns // 10**9})")
