"""Which images go, and in what order, when the disk runs full; pure.

Images without a name before those with one, among each the longest unused first, and a child before its parent: an
image that others are built on becomes free when the last of them is gone. What a container was made from, running or
not, what a request is at work on and what was used a moment ago (it was pulled to be run) stays, with everything below
it.
"""

import heapq
from collections.abc import Iterable
from typing import NamedTuple

from corten.oci.digest import Digest


class Candidate(NamedTuple):
    """An image as clients see it. ``parent``: the id of the image it was built on, "" where it has none. ``last_use``:
    when, in seconds since the epoch. ``held``: by a container or a request."""

    id: Digest
    parent: str
    named: bool
    last_use: float
    held: bool


def order(candidates: Iterable[Candidate], unused_since: float) -> list[Digest]:
    """All that may go, first to last: nothing whose last use is later than ``unused_since``."""
    images: dict[str, Candidate] = {
        candidate.id: candidate._replace(held=candidate.held or candidate.last_use > unused_since)
        for candidate in candidates
    }
    children = dict.fromkeys(images, 0)
    for image in images.values():
        if image.parent in children:
            children[image.parent] += 1
    free = [_rank(image) for image in images.values() if not image.held and not children[image.id]]
    heapq.heapify(free)
    chosen: list[Digest] = []
    while free:
        _, _, identifier = heapq.heappop(free)
        chosen.append(identifier)
        parent = images[identifier].parent
        if parent in children:
            children[parent] -= 1
            if not children[parent] and not images[parent].held:
                heapq.heappush(free, _rank(images[parent]))
    return chosen


def _rank(image: Candidate) -> tuple[bool, float, Digest]:
    return image.named, image.last_use, image.id
