"""/etc/hostname, /etc/hosts and /etc/resolv.conf of a container: pure text in, text out.

Owns what Docker puts there and in which order. Refuses to know where the files live.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from corten.errors import InvalidArgument

HOST_GATEWAY: Final = "host-gateway"

# systemd-resolved listens on this address only; its own upstream list lies in SYSTEMD_RESOLVED (resolved.conf(5)).
SYSTEMD_STUB: Final = "127.0.0.53"
SYSTEMD_RESOLVED: Final = "/run/systemd/resolve/resolv.conf"

_STANDARD_HOSTS: Final = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::", "ip6-localnet"),
    ("ff00::", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)


@dataclass(frozen=True, slots=True)
class Resolver:
    """The three things resolv.conf(5) can say."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse_extra_host(text: str) -> tuple[str, str]:
    """``NAME:ADDRESS`` or ``NAME=ADDRESS`` of --add-host as a pair; the address may be ``host-gateway``."""
    separator = "=" if "=" in text and (":" not in text or text.index("=") < text.index(":")) else ":"
    name, found, address = text.partition(separator)
    if not found or not name or any(c.isspace() for c in name):
        raise InvalidArgument(f'bad format for add-host: "{text}"')
    address = address.removeprefix("[").removesuffix("]")
    if address != HOST_GATEWAY:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise InvalidArgument(f'invalid IP address in add-host: "{address}"') from None
    return name, address


def host_names(hostname: str, domainname: str) -> str:
    """The names a container has for its own address: ``name.domain name``, or the name alone."""
    if domainname:
        return f"{hostname}.{domainname} {hostname}"
    # Docker adds the part before the first dot of a name that has one.
    short, dot, _ = hostname.partition(".")
    return f"{hostname} {short}" if dot else hostname


def hosts(*, hostname: str, domainname: str, address: str, extra: Sequence[tuple[str, str]], host_gateway: str) -> str:
    """/etc/hosts of a container with its own network; without ``address`` there is no line of its own."""
    lines = [f"{ip}\t{names}\n" for ip, names in _STANDARD_HOSTS]
    lines += _extra_lines(extra, host_gateway)
    if address:
        lines.append(f"{address}\t{host_names(hostname, domainname)}\n")
    return "".join(lines)


def host_mode_hosts(host_file: str, *, extra: Sequence[tuple[str, str]], host_gateway: str) -> str:
    """/etc/hosts in mode ``host``: the host's own file and --add-host."""
    body = host_file if host_file.endswith("\n") or not host_file else host_file + "\n"
    return body + "".join(_extra_lines(extra, host_gateway))


def _extra_lines(extra: Sequence[tuple[str, str]], host_gateway: str) -> list[str]:
    lines = []
    for name, address in extra:
        if address == HOST_GATEWAY and not host_gateway:
            raise InvalidArgument("unable to derive the IP value for host-gateway")
        lines.append(f"{host_gateway if address == HOST_GATEWAY else address}\t{name}\n")
    return lines


def parse_resolv_conf(text: str) -> Resolver:
    """resolv.conf(5): every name server, the last search or domain line, every option."""
    nameservers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split(";", 1)[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            nameservers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = tuple(words[1:])
        elif words[0] == "options":
            options.extend(words[1:])
    return Resolver(tuple(nameservers), search, tuple(options))


def uses_systemd_stub(resolver: Resolver) -> bool:
    """Whether the host's file names only systemd-resolved's stub; then :data:`SYSTEMD_RESOLVED` is the one to read."""
    return resolver.nameservers == (SYSTEMD_STUB,)


def reachable_from_bridge(server: str) -> bool:
    """Whether a container behind an IPv4 bridge can ask this name server: no loopback, no IPv6."""
    try:
        address = ipaddress.ip_address(server.partition("%")[0])
    except ValueError:
        return False
    return address.version == 4 and not address.is_loopback


def container_resolver(
    host: Resolver, *, dns: Sequence[str], search: Sequence[str], options: Sequence[str], shared: bool
) -> Resolver:
    """The container's resolver: its own flags win one by one over the host's; ``.`` as search means none.

    ``shared`` is mode ``host``, where the host's loopback name servers can be reached. Elsewhere they are dropped. When
    none is left there is none: unlike Docker's default bridge, no third party's public server is put in.
    """
    nameservers = tuple(dns) or tuple(s for s in host.nameservers if shared or reachable_from_bridge(s))
    domains = tuple(search) or host.search
    return Resolver(nameservers, () if domains == (".",) else domains, tuple(options) or host.options)


def resolv_conf(resolver: Resolver) -> str:
    """The text of resolv.conf(5)."""
    lines = ["# Generated by Corten. It may be edited; it is written anew when the container starts.\n"]
    lines += [f"nameserver {server}\n" for server in resolver.nameservers]
    if resolver.search:
        lines.append(f"search {' '.join(resolver.search)}\n")
    if resolver.options:
        lines.append(f"options {' '.join(resolver.options)}\n")
    return "".join(lines)
