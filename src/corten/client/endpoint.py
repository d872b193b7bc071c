"""Where an engine listens; pure. ``unix://``, ``tcp://`` with or without TLS; ``ssh://`` is refused.

Grammar and defaults are those of the docker CLI (`-H`, ``DOCKER_HOST``): a bare ``host:port`` is TCP, a bare absolute
path is a unix socket, port 2375 without and 2376 with TLS.
"""

from __future__ import annotations

from corten.client.errors import InvalidHost

PLAIN_PORT = 2375
TLS_PORT = 2376


class TlsFiles:
    """Paths of the PEM files of a TLS connection (empty string = not given); ``verify`` checks the engine's name."""

    __slots__ = ("ca", "certificate", "key", "verify")

    def __init__(self, *, ca: str, certificate: str, key: str, verify: bool) -> None:
        self.ca = ca
        self.certificate = certificate
        self.key = key
        self.verify = verify


class Endpoint:
    """One engine address: ``path`` of a unix socket, or ``host`` and ``port``; ``text`` is how messages name it."""

    __slots__ = ("base", "host", "path", "port", "text", "tls")

    def __init__(
        self, text: str, *, path: str = "", host: str = "", port: int = 0, base: str = "", tls: TlsFiles | None = None
    ) -> None:
        self.text = text
        self.path = path
        self.host = host
        self.port = port
        self.base = base
        self.tls = tls

    @property
    def authority(self) -> str:
        """What the ``Host`` header says."""
        if self.path:
            return "localhost"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str, tls: TlsFiles | None = None) -> Endpoint:
    """The endpoint that ``text`` names.

    Raises:
        InvalidHost: the scheme is not one of ours, or the address is no address.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = ("unix" if text.startswith("/") else "tcp"), text.strip()
    if scheme == "unix":
        if not rest:
            raise InvalidHost(f"unable to parse docker host `{text}`: the path of the socket is missing")
        return Endpoint(f"unix://{rest}", path=rest)
    if scheme in {"tcp", "http", "https"}:
        return _tcp(text, rest, tls)
    if scheme == "ssh":
        raise InvalidHost(
            f"{text}: ssh:// hosts are not supported yet; forward the engine's socket with `ssh -L` and use unix://"
        )
    raise InvalidHost(f"unable to parse docker host `{text}`: use unix:// or tcp://")


def _tcp(text: str, rest: str, tls: TlsFiles | None) -> Endpoint:
    address, slash, base = rest.partition("/")
    default = TLS_PORT if tls else PLAIN_PORT
    if address.startswith("["):
        host, _, after = address[1:].partition("]")
        port = after.removeprefix(":")
    elif address.count(":") > 1:
        raise InvalidHost(f"unable to parse docker host `{text}`: write an IPv6 address as [ADDRESS]:PORT")
    else:
        host, _, port = address.partition(":")
    host = host or "localhost"
    if port and not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise InvalidHost(f"unable to parse docker host `{text}`: {port} is no port")
    prefix = f"/{base}".rstrip("/") if slash else ""
    return Endpoint(f"tcp://{rest or 'localhost'}", host=host, port=int(port or default), base=prefix, tls=tls)
