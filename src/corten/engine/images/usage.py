"""Which containers were made from which image: told by the containers' service, asked by removal and lists.

Owns the registration only. Refuses to know containers: whether one runs is asked through a callable.
"""

from collections.abc import Callable
from typing import NamedTuple


class ImageUse(NamedTuple):
    """A container that was made from an image."""

    container_id: str
    image_id: str
    running: bool


class ImageUsage:
    """One for the whole engine; used on the event loop's thread."""

    def __init__(self) -> None:
        self._images: dict[str, str] = {}
        self._used: set[str] = set()
        self._running: Callable[[str], bool] = lambda container_id: False

    def set_running(self, predicate: Callable[[str], bool]) -> None:
        """How to ask whether a container runs."""
        self._running = predicate

    def in_use(self, image_id: str, container_id: str) -> None:
        """A container is made, or was found at start-up."""
        self._images[container_id] = image_id
        self._used.add(image_id)

    def release(self, image_id: str, container_id: str) -> None:
        """A container is gone."""
        if self._images.get(container_id) == image_id:
            del self._images[container_id]
            self._used.add(image_id)

    def take_used(self) -> set[str]:
        """The images that were used since the last call."""
        used, self._used = self._used, set()
        return used

    def uses(self) -> list[ImageUse]:
        """Every registration, oldest first."""
        return [
            ImageUse(container_id, image_id, self._running(container_id))
            for container_id, image_id in self._images.items()
        ]
