"""Container events with Docker's attributes: image, name and every label, then what the verb adds."""

from typing import Final

from corten.engine.events import EventService
from corten.engine.record import ContainerRecord

#: So many ``oom`` are told one by one: more at once were counted while no engine ran, and would push out the rest.
_MOST_AT_ONCE: Final = 64


class Notices:
    """Publishes what happened to containers."""

    def __init__(self, events: EventService) -> None:
        self._events = events

    def container(self, record: ContainerRecord, action: str, **more: str) -> None:
        """``action`` happened to the container."""
        attributes = dict(record.config.Labels or {})
        attributes["image"] = record.config.Image
        attributes["name"] = record.name
        attributes.update(more)
        self._events.publish("container", action, record.id, attributes)

    def out_of_memory(self, record: ContainerRecord, times: int) -> None:
        """Its memory ran out so many times more, each an event as dockerd has it."""
        for _ in range(min(times, _MOST_AT_ONCE)):
            self.container(record, "oom")

    def volume(self, name: str, action: str, **more: str) -> None:
        """``action`` happened to the volume."""
        self._events.publish("volume", action, name, more)

    def mounts(self, record: ContainerRecord, action: str) -> None:
        """``mount`` or ``unmount`` of each of the container's volumes."""
        for point in record.mounts:
            if point.type == "volume":
                more = {"container": record.id, "driver": point.driver}
                if action == "mount":
                    more |= {
                        "destination": point.destination,
                        "propagation": point.propagation,
                        "read/write": "false" if point.read_only else "true",
                    }
                self._events.publish("volume", action, point.name, more)

    def pruned(self, kind: str, reclaimed: int) -> None:
        """A prune of ``kind`` freed ``reclaimed`` bytes."""
        self._events.publish(kind, "prune", "", {"reclaimed": str(reclaimed)})
