"""``--publish`` and ``--expose`` as port sets; pure.

Grammar: ``[IP:][HOST[-HOST]:]PORT[-PORT][/PROTOCOL]``, or ``target=...,published=...,protocol=...``.
"""

from __future__ import annotations

from corten.cli.creation import values

PROTOCOLS = frozenset({"tcp", "udp", "sctp"})
HIGHEST = 65535


def port_range(text: str) -> tuple[int, int] | None:
    """First and last of ``80`` or ``80-82``; None when it is none."""
    first, dash, last = text.partition("-")
    if not dash:
        last = first
    if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()):
        return None
    low, high = int(first), int(last)
    return (low, high) if low <= high <= HIGHEST else None


def published(text: str) -> list[tuple[str, str, str]]:
    """``(port/protocol, host address, host port or range)`` of one ``--publish``.

    Raises:
        ValueError: Docker's text.
    """
    return _long(text) if "=" in text else _short(text)


def _short(text: str) -> list[tuple[str, str, str]]:
    address, host, inside = _split(text)
    inside, slash, protocol = inside.partition("/")
    protocol = protocol.lower() if slash and protocol else "tcp"
    if address:
        try:
            address = values.ip_address(address)
        except ValueError:
            raise ValueError(f"invalid IP address: {address}") from None
    if not inside:
        raise ValueError(f"no port specified: {text}<empty>")
    container = port_range(inside)
    if container is None:
        raise ValueError(f"invalid containerPort: {inside}")
    wanted = port_range(host) if host else None
    if host and wanted is None:
        raise ValueError(f"invalid hostPort: {host}")
    if protocol not in PROTOCOLS:
        raise ValueError(f"invalid proto: {protocol}")
    low, high = container
    if wanted and wanted[1] - wanted[0] != high - low:
        if low != high:
            raise ValueError(f"invalid ranges specified for container and host Ports: {inside} and {host}")
        return [(f"{low}/{protocol}", address, f"{wanted[0]}-{wanted[1]}")]
    return [
        (f"{low + offset}/{protocol}", address, str(wanted[0] + offset) if wanted else "")
        for offset in range(high - low + 1)
    ]


def _split(text: str) -> tuple[str, str, str]:
    """Host address, host port and container port; an IPv6 address may stand in brackets."""
    front, colon, inside = text.rpartition(":")
    if not colon:
        return "", "", text
    address, colon, host = front.rpartition(":")
    if not colon:
        return "", front, inside
    return address[1:-1] if address.startswith("[") and address.endswith("]") else address, host, inside


def _long(text: str) -> list[tuple[str, str, str]]:
    target, host, protocol = "", "", "tcp"
    for field in values.csv(text):
        key, equals, value = field.partition("=")
        if not equals or not value:
            raise ValueError(f"invalid field: {field}")
        if key == "protocol":
            if value not in PROTOCOLS:
                raise ValueError(f"invalid protocol value '{value}'")
            protocol = value
        elif key == "mode":
            if value not in {"host", "ingress"}:
                raise ValueError(f"invalid publish mode value '{value}'")
        elif key == "target":
            if port_range(value) is None or "-" in value:
                raise ValueError(f"invalid target port ({value}): value must be an integer")
            target = value
        elif key == "published":
            if port_range(value) is None:
                raise ValueError(f"invalid published port ({value}): value must be an integer")
            host = value
        else:
            raise ValueError(f"invalid field key: {key}")
    if not target:
        raise ValueError("missing mandatory field 'target'")
    return [(f"{int(target)}/{protocol}", "", host)]


def exposed(text: str) -> list[str]:
    """``port/protocol`` of each port of one ``--expose``.

    Raises:
        ValueError: Docker's text.
    """
    if ":" in text:
        raise ValueError(f"invalid port format for --expose: {text}")
    ports, slash, protocol = text.partition("/")
    found = port_range(ports)
    if found is None:
        raise ValueError(f"invalid range format for --expose: {text}, error: {_reason(ports)}")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in PROTOCOLS:
        raise ValueError(f"invalid proto: {protocol}")
    return [f"{port}/{protocol}" for port in range(found[0], found[1] + 1)]


def _reason(ports: str) -> str:
    """Why it is no range, in the words of Go's strconv."""
    for part in ports.split("-", 1):
        if not (part.isascii() and part.isdigit()):
            return f'strconv.ParseUint: parsing "{part}": invalid syntax'
        if int(part) > HIGHEST:
            return f'strconv.ParseUint: parsing "{part}": value out of range'
    return f"invalid range specified for port: {ports}"
