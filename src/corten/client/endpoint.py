"""Where an engine is: the forms of a host, and how a socket to one is opened.

Refuses to know HTTP. ``unix:///path``, ``tcp://host:port`` (with TLS when asked for); ``ssh://`` and ``npipe://`` are
refused by name.
"""

from __future__ import annotations

import _socket
import os

from corten.client.errors import ClientError, ConnectionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Final

PLAIN_PORT: Final = 2375
TLS_PORT: Final = 2376


class Tls:
    """Certificates in ``directory`` (ca.pem, cert.pem, key.pem); ``verify`` checks the engine's against ca.pem."""

    __slots__ = ("directory", "verify")

    def __init__(self, directory: str, *, verify: bool) -> None:
        self.directory = directory
        self.verify = verify


class Endpoint:
    """A parsed host; ``address`` is a path or (name, port)."""

    __slots__ = ("address", "host", "tls")

    def __init__(self, host: str, tls: Tls | None = None) -> None:
        self.host = host
        self.tls = tls
        self.address = _parse(host, tls)

    def connect(self) -> socket.socket:
        """A connected blocking socket; ConnectionFailed when nobody answers."""
        try:
            if isinstance(self.address, str):
                # `_socket.socket` has all of a stream socket's calls and none of the `socket` module's import time.
                plain = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
                plain.connect(self.address)
                return plain  # type: ignore[return-value]
            return self._connect_tcp(self.address)
        except OSError as error:
            raise ConnectionFailed(self.host, os.strerror(error.errno) if error.errno else str(error)) from error

    def _connect_tcp(self, address: tuple[str, int]) -> socket.socket:
        import socket as sockets

        connection = sockets.create_connection(address)
        connection.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        if self.tls is None:
            return connection
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if not self.tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        try:
            if self.tls.verify:
                context.load_verify_locations(f"{self.tls.directory}/ca.pem")
            if os.path.exists(f"{self.tls.directory}/cert.pem"):
                context.load_cert_chain(f"{self.tls.directory}/cert.pem", f"{self.tls.directory}/key.pem")
        except OSError as error:
            raise ClientError(f"certificates in {self.tls.directory} cannot be read: {error.strerror}") from error
        return context.wrap_socket(connection, server_hostname=address[0])


def _parse(host: str, tls: Tls | None) -> str | tuple[str, int]:
    scheme, separator, rest = host.partition("://")
    if not separator:
        raise ClientError(f"unable to parse docker host `{host}`")
    if scheme == "unix":
        return rest
    if scheme in ("tcp", "http", "https"):
        rest = rest.partition("/")[0]
        name, colon, port = rest.rpartition(":")
        if not colon or rest.endswith("]"):
            name, port = rest, str(TLS_PORT if tls else PLAIN_PORT)
        if not port.isdigit() or not name:
            raise ClientError(f"invalid host {host}: the form is tcp://NAME:PORT")
        return name.strip("[]"), int(port)
    if scheme in ("ssh", "npipe", "fd"):
        raise ClientError(f"hosts of the form {scheme}:// are not supported yet: use unix:// or tcp://")
    raise ClientError(f"unable to parse docker host `{host}`")
