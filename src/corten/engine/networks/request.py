"""What the engine asks of the networks for one container: a value, built from Config and HostConfig.

Owns the reading of ``NetworkMode`` and of the flags that end in /etc/hosts, /etc/resolv.conf and published ports.
Refuses to know the kernel and what is allocated.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from corten.api.types.network import EndpointSettings, PortBinding

#: No process: pid and start time.
NOBODY: Final = (0, 0)


class ContainerNetworkRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One container's wishes; names are those of Docker's JSON in lower case.

    ``name`` is the container's without its slash; ``mode`` is ``HostConfig.NetworkMode`` as the client sent it, with
    ``container:`` already resolved to a full id; ``exposed`` are the keys of ``Config.ExposedPorts`` (image and client
    merged); ``bindings`` is ``HostConfig.PortBindings``; ``target`` is the first process of the container that
    ``container:ID`` names, by pid and start time; ``endpoints`` is ``NetworkingConfig.EndpointsConfig``. ``hostname``
    is what goes to /etc/hostname; in mode ``container:ID`` it is empty unless the client set one. ``links`` are (names,
    address) of linked containers, for /etc/hosts.
    """

    container_id: str
    name: str
    hostname: str
    domainname: str = ""
    mode: str = "default"
    exposed: Sequence[str] = ()
    bindings: Mapping[str, Sequence[PortBinding] | None] = {}
    publish_all: bool = False
    extra_hosts: Sequence[str] = ()
    dns: Sequence[str] = ()
    dns_search: Sequence[str] = ()
    dns_options: Sequence[str] = ()
    mac_address: str = ""
    endpoints: Mapping[str, EndpointSettings | None] = {}
    target: tuple[int, int] = NOBODY
    links: Sequence[tuple[str, str]] = ()

    @property
    def driver_mode(self) -> str:
        """``mode`` with Docker's spellings of the default folded together: ``bridge host none container:ID``."""
        return "bridge" if self.mode in ("", "default", "bridge") else self.mode

    @property
    def wanted_mac(self) -> str:
        """The MAC a client asked for, in lower case: the endpoint's (API 1.44 and later), else the container's."""
        endpoint = self.endpoints.get(self.mode) or self.endpoints.get(self.driver_mode)
        return ((endpoint.MacAddress if endpoint else "") or self.mac_address).lower()
