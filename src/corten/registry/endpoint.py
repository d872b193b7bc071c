"""Where a registry's name leads: the base URLs to try, in order.

Owns the mapping of docker.io, mirrors and the rule for plain HTTP. Refuses to open a connection: that an endpoint
answers is found out by :mod:`corten.registry.client`.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from corten.errors import InvalidArgument

DOCKER_HUB: Final = "docker.io"
HUB_HOST: Final = "registry-1.docker.io"
#: The name under which clients keep Docker Hub's credentials (docker/cli, registry.IndexServer).
HUB_INDEX: Final = "https://index.docker.io/v1/"
CERTS_DIRECTORY: Final = "/etc/corten/certs.d"


class Endpoint(NamedTuple):
    """``base`` is ``scheme://host[:port][/prefix]`` without a trailing slash."""

    base: str
    host: str
    mirror: bool = False
    verify: bool = True

    @property
    def plain(self) -> bool:
        """Whether this is HTTP without TLS."""
        return self.base.startswith("http://")


class RegistrySettings(NamedTuple):
    """What an administrator configured; ``mirrors`` maps a registry's name to base URLs."""

    mirrors: Mapping[str, tuple[str, ...]] = {}
    insecure: tuple[str, ...] = ()
    certs_directory: str = CERTS_DIRECTORY


def settings_from_flags(
    mirrors: Sequence[str], insecure: Sequence[str], *, certs_directory: str = CERTS_DIRECTORY
) -> RegistrySettings:
    """Read ``--registry-mirror`` and ``--insecure-registry`` values.

    A mirror is dockerd's ``https://mirror`` (for docker.io), or ``registry=https://mirror[/prefix]`` for another one.
    Raises InvalidArgument for what is neither.
    """
    table: dict[str, tuple[str, ...]] = {}
    for value in mirrors:
        domain, separator, url = value.partition("=")
        if not separator:
            domain, url = DOCKER_HUB, value
        if not url.startswith(("https://", "http://")) or "@" in url or "?" in url or "#" in url:
            raise InvalidArgument(
                f'invalid mirror: "{value}" is not an http or https URL without user, query or fragment'
            )
        table[domain] = (*table.get(domain, ()), url.rstrip("/"))
    for value in insecure:
        if "://" in value:
            raise InvalidArgument(f"insecure registry {value} should not contain '://'")
    return RegistrySettings(table, tuple(insecure), certs_directory)


def endpoints(domain: str, settings: RegistrySettings, *, push: bool = False) -> list[Endpoint]:
    """The endpoints of ``domain`` in the order they are tried.

    Mirrors come first and only for pulls. An insecure registry is tried over HTTPS without verification, then over
    HTTP, as dockerd does.
    """
    found: list[Endpoint] = []
    if not push:
        for url in settings.mirrors.get(domain, ()):
            host = host_of(url)
            found.append(Endpoint(url, host, mirror=True, verify=not is_insecure(host, settings)))
    host = HUB_HOST if domain == DOCKER_HUB else domain
    if is_insecure(host, settings):
        found += [Endpoint(f"https://{host}", host, verify=False), Endpoint(f"http://{host}", host, verify=False)]
    else:
        found.append(Endpoint(f"https://{host}", host))
    return found


def host_of(url: str) -> str:
    """``host[:port]`` of an http or https URL."""
    return url.partition("://")[2].partition("/")[0]


def is_insecure(host: str, settings: RegistrySettings) -> bool:
    """Whether plain HTTP and unverified TLS are allowed: loopback, or named by ``--insecure-registry``.

    Names are compared as written; only literal addresses are compared with networks, so that a name server cannot
    make a registry insecure (dockerd resolves names here).
    """
    name = split_port(host)[0]
    if name == "localhost" or host in settings.insecure or name in settings.insecure:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    if address.is_loopback:
        return True
    for value in settings.insecure:
        try:
            network = ipaddress.ip_network(value, strict=False)
        except ValueError:
            continue
        if address.version == network.version and address in network:
            return True
    return False


def split_port(host: str) -> tuple[str, str]:
    """``host[:port]`` or ``[v6]:port`` as name (without brackets) and port (may be empty)."""
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        return name, rest.removeprefix(":")
    name, _, port = host.partition(":")
    return name, port
