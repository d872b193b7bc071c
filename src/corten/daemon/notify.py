"""What a service manager is told: sd_notify(3) without its library."""

import os
import socket


def tell(message: str) -> None:
    """``READY=1``, ``STOPPING=1`` ...; does nothing without a service manager, and never fails."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or address[0] not in "/@":
        return
    if address[0] == "@":  # an abstract address: unix(7)
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(message.encode(), address)
        except OSError:
            pass
