"""The beginning of a start, made while the engine is still at work on the network and the record: the cgroup with its
limits.

Nothing here outlives its purpose: a start takes it, the engine gives it up, another preparation of the same container
replaces it, and without an engine it goes. What a start finds must be what it wants, or it makes its own.
"""

from __future__ import annotations

from corten.cgroup.group import Group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.shim.supervisor import Supervisor


class Preparations:
    """By container id, the ``cgroup`` field of the message and the group that was made of it."""

    __slots__ = ("_made", "_supervisor")

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._made: dict[str, tuple[dict[str, Any], Group]] = {}

    def make(self, container_id: str, cgroup: dict[str, Any]) -> None:
        """Prepare a start. Raises CortenError, with nothing left; the start itself will fail the same way."""
        self.give_up(container_id)
        self._made[container_id] = cgroup, self._create(cgroup)

    def take(self, container_id: str, cgroup: dict[str, Any]) -> Group:
        """The group of a start, the caller's now: the one that was prepared, when it is this one, or a new one.

        Raises CortenError, with nothing left.
        """
        wanted, group = self._made.get(container_id, (None, None))
        if group is not None and wanted == cgroup:
            del self._made[container_id]
            return group
        self.give_up(container_id)
        return self._create(cgroup)

    def give_up(self, container_id: str) -> None:
        """No start follows."""
        _, group = self._made.pop(container_id, (None, None))
        if group is not None:
            self._supervisor.remove_cgroup(group.path)

    def clear(self) -> None:
        """No engine is left to start anything."""
        for container_id in list(self._made):
            self.give_up(container_id)

    def _create(self, cgroup: dict[str, Any]) -> Group:
        self._supervisor.claim_cgroup(cgroup["path"])
        return Group.create(self._supervisor.hierarchy, cgroup["path"], cgroup.get("resources") or {})
