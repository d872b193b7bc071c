"""HTTP_PROXY, HTTPS_PROXY and NO_PROXY as Go's ``golang.org/x/net/http/httpproxy`` reads them, which dockerd uses.

Owns the choice of a proxy for a URL. Refuses to read the environment itself: it is given a mapping.
"""

import ipaddress
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit


class ProxySettings(NamedTuple):
    """Proxy URLs (empty: none) and the NO_PROXY entries in lower case."""

    http: str = ""
    https: str = ""
    excluded: tuple[str, ...] = ()


def from_environment(environment: Mapping[str, str]) -> ProxySettings:
    """The settings of an environment; the upper-case name wins over the lower-case one."""

    def read(name: str) -> str:
        return environment.get(name) or environment.get(name.lower(), "")

    excluded = tuple(entry.strip().lower() for entry in read("NO_PROXY").split(",") if entry.strip())
    return ProxySettings(_as_url(read("HTTP_PROXY")), _as_url(read("HTTPS_PROXY")), excluded)


def shown(environment: Mapping[str, str]) -> tuple[str, str, str]:
    """The proxies for HTTP and HTTPS and what needs none, as they were given but for the user and the password."""
    return tuple(  # type: ignore[return-value]
        _masked(environment.get(name) or environment.get(name.lower(), ""))
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    )


def _masked(value: str) -> str:
    head, separator, rest = value.rpartition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    return f"{head}{separator}{'xxxxx:xxxxx' if user else ''}{at}{host}{slash}{path}"


def proxy_for(url: str, settings: ProxySettings) -> str | None:
    """The proxy that serves ``url``, or None for a direct connection; loopback is always direct."""
    parts = urlsplit(url)
    proxy = settings.https if parts.scheme == "https" else settings.http
    host = (parts.hostname or "").lower().rstrip(".")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if not proxy or host == "localhost" or any(_matches(entry, host, port) for entry in settings.excluded):
        return None
    try:
        return None if ipaddress.ip_address(host).is_loopback else proxy
    except ValueError:
        return proxy


def _as_url(value: str) -> str:
    return value if not value or "://" in value else f"http://{value}"


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        pass
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit() and not name.endswith(":"):
        if int(wanted) != port:
            return False
        entry = name.strip("[]")
    entry = entry.removeprefix("*")
    if entry.startswith("."):
        return host.endswith(entry)
    return host == entry or host.endswith("." + entry)
