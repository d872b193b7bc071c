"""Which containers a list shows: Docker's filters and their texts; pure.

Values of one key are alternatives, except labels, which must all match; keys must all match.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from corten.api.filters import Filters
from corten.api.pattern import Pattern
from corten.engine.containers.render import health_status
from corten.engine.lifecycle import Status
from corten.engine.networks.record import EndpointRecord
from corten.engine.record import ContainerRecord
from corten.errors import InvalidArgument

ACCEPTED: Final = frozenset(
    {
        "ancestor", "before", "exited", "id", "isolation", "label", "name", "status", "health", "since", "volume",
        "network",
        "is-task", "publish", "expose",
    }
)  # fmt: skip
_HEALTH: Final = frozenset({"none", "starting", "healthy", "unhealthy"})
_PORT: Final = re.compile(r"(\d{1,19})(?:-(\d{1,19}))?(?:/(tcp|udp|sctp))?\Z", re.ASCII)


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """What filters refer to, looked up by the caller: creation times of ``before`` and ``since``, image ids of
    ``ancestor``.
    """

    before_ns: int | None = None
    since_ns: int | None = None
    images: frozenset[str] | None = None
    network_ids: Mapping[str, str] = {}


def check(filters: Filters) -> None:
    """Raises InvalidArgument with Docker's text for an unknown key or a value it does not take."""
    filters.check(ACCEPTED)
    for value in filters.values("status"):
        if value not in tuple(Status):
            raise InvalidArgument(
                f"invalid filter 'status={value}': invalid value for state ({value}): "
                "must be one of created, running, paused, restarting, removing, exited, dead"
            )
    for value in filters.values("health"):
        if value not in _HEALTH:
            raise InvalidArgument(f"unrecognised filter value for health: {value}")
    for value in filters.values("exited"):
        if not re.fullmatch(r"[+-]?\d{1,19}", value, re.ASCII):
            raise InvalidArgument(f'strconv.Atoi: parsing "{value}": invalid syntax')
    for key in ("publish", "expose"):
        for value in filters.values(key):
            port_range(key, value)


def port_range(key: str, value: str) -> tuple[int, int, str]:
    """``80``, ``80/udp`` or ``80-90/tcp`` as (first, last, protocol)."""
    found = _PORT.match(value)
    if found is None:
        raise InvalidArgument(f"invalid containerPort: {value}" if key == "expose" else f"invalid port range: {value}")
    first, last, protocol = found.groups()
    low, high = int(first), int(last or first)
    if not 0 <= low <= high <= 65535:
        raise InvalidArgument(f"invalid port range: {value}")
    return low, high, protocol or "tcp"


def matches(record: ContainerRecord, filters: Filters, resolved: Resolved) -> bool:
    """Whether a container passes every filter."""
    return all(test(record, filters, resolved) for test in _TESTS)


def _names(record: ContainerRecord, filters: Filters, _: Resolved) -> bool:
    wanted = filters.values("name")
    return not wanted or any(_search(value, f"/{record.name}") or _search(value, record.name) for value in wanted)


def _search(pattern: str, text: str) -> bool:
    """Docker takes the value as a regular expression, and as plain text when it is none."""
    try:
        return Pattern(pattern).found(text)
    except ValueError:
        return pattern in text


def _ids(record: ContainerRecord, filters: Filters, _: Resolved) -> bool:
    wanted = filters.values("id")
    return not wanted or any(record.id.startswith(value) for value in wanted)


def _labels(record: ContainerRecord, filters: Filters, _: Resolved) -> bool:
    return filters.match_labels("label", record.config.Labels or {})


def _status(record: ContainerRecord, filters: Filters, _: Resolved) -> bool:
    wanted = filters.values("status")
    return not wanted or record.state.status in wanted


def _exited(record: ContainerRecord, filters: Filters, _: Resolved) -> bool:
    wanted = {int(value) for value in filters.values("exited")}
    finished = not record.state.active and record.state.finished_ns > 0
    return not wanted or (finished and record.state.exit_code in wanted)


def _times(record: ContainerRecord, _: Filters, resolved: Resolved) -> bool:
    before, since = resolved.before_ns, resolved.since_ns
    return (before is None or record.created_ns < before) and (since is None or record.created_ns > since)


def _ancestor(record: ContainerRecord, _: Filters, resolved: Resolved) -> bool:
    return resolved.images is None or record.image_id in resolved.images


def _volume(record: ContainerRecord, filters: Filters, _: Resolved) -> bool:
    wanted = set(filters.values("volume"))
    return not wanted or any(
        not wanted.isdisjoint((point.name, point.destination, point.source)) for point in record.mounts
    )


def _network(record: ContainerRecord, filters: Filters, resolved: Resolved) -> bool:
    wanted = filters.values("network")
    if not wanted:
        return True
    mode = record.host.NetworkMode
    name = "bridge" if mode in ("", "default") else mode
    identity = resolved.network_ids.get(name, "")
    return any(value == name or (bool(identity) and identity.startswith(value)) for value in wanted)


def _health(record: ContainerRecord, filters: Filters, _: Resolved) -> bool:
    wanted = filters.values("health")
    return not wanted or health_status(record.state) in wanted


def _isolation(_: ContainerRecord, filters: Filters, __: Resolved) -> bool:
    wanted = filters.values("isolation")
    return not wanted or "default" in wanted


def _task(record: ContainerRecord, filters: Filters, _: Resolved) -> bool:
    wanted = filters.values("is-task")
    task = "com.docker.swarm.task" in (record.config.Labels or {})
    return not wanted or any(
        value.lower() in ("true", "1") if task else value.lower() in ("false", "0") for value in wanted
    )


def _published(record: ContainerRecord, filters: Filters, _: Resolved) -> bool:
    wanted = [port_range("publish", value) for value in filters.values("publish")]
    return not wanted or _any_port(wanted, _public_ports(record.network))


def _exposed(record: ContainerRecord, filters: Filters, _: Resolved) -> bool:
    wanted = [port_range("expose", value) for value in filters.values("expose")]
    return not wanted or _any_port(wanted, _private_ports(record))


def _public_ports(endpoint: EndpointRecord | None) -> Collection[tuple[int, str]]:
    return [(port.host_port, port.protocol) for port in endpoint.ports] if endpoint else []


def _private_ports(record: ContainerRecord) -> Collection[tuple[int, str]]:
    texts = {*(record.config.ExposedPorts or ()), *(record.host.PortBindings or ())}
    return [(low, protocol) for low, _, protocol in (port_range("expose", text) for text in texts)]


def _any_port(wanted: Collection[tuple[int, int, str]], ports: Collection[tuple[int, str]]) -> bool:
    return any(low <= port <= high and kind == protocol for low, high, protocol in wanted for port, kind in ports)


_TESTS: Final[tuple[Callable[[ContainerRecord, Filters, Resolved], bool], ...]] = (
    _ids, _names, _labels, _status, _exited, _times, _ancestor, _volume, _network, _health, _isolation, _task,
    _published, _exposed,
)  # fmt: skip
