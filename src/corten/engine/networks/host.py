"""A container's three files, from the host's own and the container's flags.

Owns which host file is read and which flag of the daemon stands behind which flag of the container. Refuses to know the
format of the files (:mod:`corten.network.files`).
"""

from ipaddress import IPv4Network
from typing import Final

from corten.engine.config import EngineConfig
from corten.engine.networks.request import ContainerNetworkRequest
from corten.network import files
from corten.network.model import HOST

RESOLV_CONF: Final = "/etc/resolv.conf"
HOSTS: Final = "/etc/hosts"


class HostFiles:
    """Reads the host anew for every container: its resolver may have changed since the engine started."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config

    def of(
        self, request: ContainerNetworkRequest, *, address: str, gateway: str
    ) -> tuple[tuple[str, str, str], tuple[str, ...]]:
        """(hostname, hosts, resolv.conf) and warnings; ``gateway`` is what ``host-gateway`` means unless configured."""
        shared = request.driver_mode == HOST
        extra = [*(files.parse_extra_host(text) for text in request.extra_hosts), *request.links]
        host_gateway = self._config.host_gateway_ip or gateway
        if shared:
            hosts = files.host_mode_hosts(_read(HOSTS), extra=extra, host_gateway=host_gateway)
        else:
            hosts = files.hosts(
                hostname=request.hostname, domainname=request.domainname, address=address, extra=extra,
                host_gateway=host_gateway,
            )  # fmt: skip
        resolver = self._resolver(request, shared=shared)
        warnings: tuple[str, ...] = ()
        if address and not resolver.nameservers:
            warnings = ("no name server of the host can be reached from a container: name one with --dns",)
        return (request.hostname + "\n", hosts, files.resolv_conf(resolver)), warnings

    def nameserver_networks(self) -> list[IPv4Network]:
        """The host's IPv4 name servers as /32 networks: a default subnet must not hide them."""
        servers = self._host_resolver(shared=False).nameservers
        return [IPv4Network(server) for server in servers if files.reachable_from_bridge(server)]

    def _resolver(self, request: ContainerNetworkRequest, *, shared: bool) -> files.Resolver:
        config = self._config
        return files.container_resolver(
            self._host_resolver(shared=shared), dns=request.dns or config.dns,
            search=request.dns_search or config.dns_search, options=request.dns_options or config.dns_options,
            shared=shared,
        )  # fmt: skip

    def _host_resolver(self, *, shared: bool) -> files.Resolver:
        resolver = files.parse_resolv_conf(_read(RESOLV_CONF))
        if not shared and files.uses_systemd_stub(resolver):
            upstream = _read(files.SYSTEMD_RESOLVED)
            return files.parse_resolv_conf(upstream) if upstream else resolver
        return resolver


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
