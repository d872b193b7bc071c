"""The networks of an engine: ``bridge``, ``host`` and ``none``, which always exist.

Owns their identities and what ``network ls`` and ``network inspect`` say. Refuses to know how containers get in.

Ids are derived from the exec root, so they outlive a restart without a record of their own.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from corten.api.filters import Filters
from corten.api.pattern import found
from corten.api.types.network import IPAMConfig, NetworkIPAM, NetworkResource
from corten.engine.networks import settings
from corten.engine.networks.record import EndpointRecord
from corten.errors import InvalidArgument, NoSuchNetwork
from corten.network.model import ANY_ADDRESS, BRIDGE, HOST, NONE, BridgeNetwork

NAMES: Final = (BRIDGE, HOST, NONE)
ACCEPTED_FILTERS: Final = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
_DRIVERS: Final = {BRIDGE: "bridge", HOST: "host", NONE: "null"}
_OPTION: Final = "com.docker.network.bridge."


class Catalog:
    """The default networks as clients see them."""

    def __init__(self, exec_root: str, *, inter_container: bool, masquerade: bool, bind_address: str) -> None:
        self._ids = {name: hashlib.sha256(f"{exec_root}\0{name}".encode()).hexdigest() for name in NAMES}
        self._created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        self._inter_container = inter_container
        self._masquerade = masquerade
        self._bind_address = bind_address or ANY_ADDRESS
        self.bridge: BridgeNetwork | None = None

    def id_of(self, name: str) -> str:
        """The 64-digit id of a default network."""
        return self._ids[name]

    def find(self, reference: str) -> str:
        """The name behind a name, an id or an unambiguous beginning of one; NoSuchNetwork otherwise."""
        names = self._names()
        if reference in names:
            return reference
        found = [name for name in names if reference and self._ids[name].startswith(reference)]
        if len(found) > 1 and self._ids[found[0]] != reference:
            raise InvalidArgument(f"network {reference} is ambiguous ({len(found)} matches found based on ID prefix)")
        if not found:
            raise NoSuchNetwork(reference)
        return found[0]

    def resource(self, name: str, endpoints: Mapping[str, EndpointRecord] | None = None) -> NetworkResource:
        """One network; ``endpoints`` (by container id) fill ``Containers``, which the list leaves empty."""
        members = {key: record for key, record in (endpoints or {}).items() if record.network == name}
        network = NetworkResource(
            Name=name, Id=self._ids[name], Created=self._created, Driver=_DRIVERS[name], IPAM=NetworkIPAM(),
            Containers={key: settings.endpoint_resource(record) for key, record in members.items()},
        )  # fmt: skip
        if name == BRIDGE and self.bridge is not None:
            bridge = self.bridge
            network.IPAM.Config = [IPAMConfig(Subnet=str(bridge.subnet), Gateway=str(bridge.gateway))]
            network.Options = {
                _OPTION + "default_bridge": "true",
                _OPTION + "enable_icc": _go_bool(value=self._inter_container),
                _OPTION + "enable_ip_masquerade": _go_bool(value=self._masquerade),
                _OPTION + "host_binding_ipv4": self._bind_address,
                _OPTION + "name": bridge.interface,
                "com.docker.network.driver.mtu": str(bridge.mtu),
            }
        return network

    def matching(self, filters: Filters, in_use: Iterable[str]) -> list[NetworkResource]:
        """Every network that ``filters`` let through; InvalidArgument for a filter Docker does not know."""
        filters.check(ACCEPTED_FILTERS)
        used = set(in_use)
        return [self.resource(name) for name in self._names() if self._matches(name, filters, used)]

    def _names(self) -> list[str]:
        return [name for name in NAMES if name != BRIDGE or self.bridge is not None]

    def _matches(self, name: str, filters: Filters, in_use: set[str]) -> bool:
        dangling = filters.values("dangling")
        # A default network is never dangling: prune would otherwise claim that it could go.
        if any(value.lower() in ("true", "1", "t") for value in dangling):
            return False
        return (
            _alike(filters.values("name"), name)
            and _alike(filters.values("id"), self._ids[name])
            and _equal(filters.values("driver"), _DRIVERS[name])
            and _equal(filters.values("scope"), "local")
            and _equal(filters.values("type"), "builtin")
            and filters.match_labels("label", {})
        )


def _go_bool(*, value: bool) -> str:
    return "true" if value else "false"


def _equal(wanted: Iterable[str], value: str) -> bool:
    values = tuple(wanted)
    return not values or value in values


def _alike(wanted: Iterable[str], value: str) -> bool:
    """Docker's Match: a regular expression found anywhere, or the very text."""
    values = tuple(wanted)
    return not values or any(pattern == value or found(pattern, value) for pattern in values)
