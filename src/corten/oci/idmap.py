"""Maps of user and group ids: ``linux.uidMappings`` and ``gidMappings`` of config.json; pure.

A range is ``(container id, host id, size)``: a line of /proc/PID/uid_map, user_namespaces(7).
"""

from __future__ import annotations

from corten.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Final

    Range = tuple[int, int, int]

_MAX_RANGES: Final = 340  # since Linux 4.15
_OVERFLOW: Final = 65534  # /proc/sys/kernel/overflowuid, which nobody changes: user_namespaces(7)
_END: Final = 0xFFFFFFFF  # (uid_t) -1 is no id


class IdMaps:
    """The two maps of one user namespace."""

    __slots__ = ("gids", "uids")

    def __init__(self, uids: Sequence[Range], gids: Sequence[Range]) -> None:
        self.uids = uids
        self.gids = gids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdMaps) and sorted(self.uids) == sorted(other.uids) and (
            sorted(self.gids) == sorted(other.gids)
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash((tuple(self.uids), tuple(self.gids)))

    def uid(self, inside: int) -> int:
        """The host's id of the container's; InvalidArgument when it has none."""
        return _outside(self.uids, inside, "uid")

    def gid(self, inside: int) -> int:
        """The same for a group."""
        return _outside(self.gids, inside, "gid")

    def shown_uid(self, outside: int) -> int:
        """What the container sees of the host's id: its own, or the one that stands for all it has not."""
        return _inside(self.uids, outside)

    def shown_gid(self, outside: int) -> int:
        """The same for a group."""
        return _inside(self.gids, outside)


def _outside(ranges: Sequence[Range], inside: int, what: str) -> int:
    for first, outside, size in ranges:
        if first <= inside < first + size:
            return outside + inside - first
    raise InvalidArgument(f"{what} {inside} is not mapped in the container's user namespace")


def _inside(ranges: Sequence[Range], outside: int) -> int:
    for inside, first, size in ranges:
        if first <= outside < first + size:
            return inside + outside - first
    return _OVERFLOW


def parse(uids: Any, gids: Any, where: str) -> IdMaps:
    """The OCI members ``uidMappings`` and ``gidMappings`` of ``where``.

    Raises:
        InvalidArgument: one without the other, or what the kernel would refuse without saying why.
    """
    if not uids or not gids:
        missing, given = ("uid", "gid") if not uids else ("gid", "uid")
        text = f"no {missing} mappings found" if not (uids or gids) else f"{given}Mappings without {missing}Mappings"
        raise InvalidArgument(f"{where}: {text}")
    return IdMaps(_ranges(uids, f"{where}.uidMappings"), _ranges(gids, f"{where}.gidMappings"))


def _ranges(entries: Any, where: str) -> list[Range]:
    if not isinstance(entries, list) or len(entries) > _MAX_RANGES:
        raise InvalidArgument(f"{where}: a list of at most {_MAX_RANGES} mappings is needed")
    ranges = [_range(entry, where) for entry in entries]
    for side in (0, 1):
        _refuse_overlap([(found[side], found[2]) for found in ranges], where)
    return ranges


def _range(entry: Any, where: str) -> Range:
    keys = ("containerID", "hostID", "size")
    values: list[Any] = [entry.get(key, 0) if isinstance(entry, dict) else None for key in keys]
    if not all(type(value) is int and 0 <= value <= _END for value in values) or not values[2]:
        raise InvalidArgument(f"{where}: containerID, hostID and size must be ids and size at least 1")
    if max(values[0], values[1]) + values[2] > _END:
        raise InvalidArgument(f"{where}: {values[0]}:{values[1]}:{values[2]} goes past the last id there is")
    return values[0], values[1], values[2]


def _refuse_overlap(spans: Iterable[tuple[int, int]], where: str) -> None:
    end = -1
    for first, size in sorted(spans):
        if first < end:
            raise InvalidArgument(f"{where}: the mappings overlap at {first}")
        end = first + size


def document(ranges: Iterable[Range]) -> list[dict[str, int]]:
    """Ranges as config.json has them."""
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in ranges]
