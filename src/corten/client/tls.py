"""TLS to an engine; imported only when the endpoint asks for it (``ssl`` and ``socket`` are slow to import)."""

from __future__ import annotations

import socket
import ssl

from corten.client.endpoint import Endpoint
from corten.client.errors import ClientError


def connect_tls(endpoint: Endpoint) -> socket.socket:
    """A connected TLS socket, checked against the CA and the engine's name when ``verify`` says so.

    Raises:
        ClientError: a PEM file cannot be read, or the handshake failed.
        OSError: nothing listens there.
    """
    files = endpoint.tls
    if files is None:
        raise ClientError(f"{endpoint.text} has no TLS settings")
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if not files.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif files.ca:
            context = ssl.create_default_context(cafile=files.ca)
        if files.certificate and files.key:
            context.load_cert_chain(files.certificate, files.key)
    except OSError as error:
        raise ClientError(f"failed to load the TLS files of {endpoint.text}: {error}") from error
    stream = socket.create_connection((endpoint.host, endpoint.port))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return context.wrap_socket(stream, server_hostname=endpoint.host)
    except ssl.SSLError as error:
        stream.close()
        raise ClientError(f"the TLS handshake with {endpoint.text} failed: {error.reason or error}") from error
