"""Container events with Docker's attributes: image, name and every label, then what the verb adds."""

from corten.engine.events import EventService
from corten.engine.record import ContainerRecord


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

    def volume(self, name: str, action: str, **more: str) -> None:
        """``action`` happened to the volume."""
        self._events.publish("volume", action, name, more)

    def pruned(self, kind: str, reclaimed: int) -> None:
        """A prune of ``kind`` freed ``reclaimed`` bytes."""
        self._events.publish(kind, "prune", "", {"reclaimed": str(reclaimed)})
