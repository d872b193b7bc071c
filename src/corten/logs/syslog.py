"""Syslog: what the options mean, and how a message looks on the wire; pure.

Formats are what dockerd sends for the same options (recorded from 20.10): RFC 3164 with and without a host name, and
RFC 5424 with a time of seconds or microseconds. Every message ends in a newline, on datagrams too.
"""

from __future__ import annotations

import time

from corten.errors import InvalidArgument, NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
#: Where a host's own syslog listens, for an empty address.
LOCAL = ("/dev/log", "/var/run/syslog", "/var/run/log")
_FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_DAEMON = 3
_SEVERITY = {"stdout": 6, "stderr": 3}
_PORT = 514
_NETWORKS = ("udp", "tcp")
_SOCKETS = ("unix", "unixgram")


def validate(options: Mapping[str, str]) -> None:
    """Raises InvalidArgument with Docker's text, NotSupported for TLS."""
    parse_address(options.get("syslog-address", ""))
    facility(options.get("syslog-facility", ""))
    if options.get("syslog-format", "") not in FORMATS:
        raise InvalidArgument("Invalid syslog format")


def parse_address(text: str) -> tuple[str, str, int]:
    """``udp://host:port`` or ``unix:///path`` as (protocol, host or path, port); empty ones for the host's own."""
    if not text:
        return "", "", 0
    protocol, separator, rest = text.partition("://")
    if protocol == "tcp+tls":
        raise NotSupported("syslog-address tcp+tls is not supported")
    if not separator or protocol not in (*_NETWORKS, *_SOCKETS):
        raise InvalidArgument(f"syslog-address should be in form proto://address, got {text}")
    if protocol in _SOCKETS:
        return protocol, rest, 0
    host, port = _split_port(rest)
    return protocol, host, port


def _split_port(text: str) -> tuple[str, int]:
    """``host``, ``host:port``, ``[v6]`` or ``[v6]:port``."""
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, str(_PORT)
    if not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        raise InvalidArgument(f"syslog-address should be in form proto://address, got {text}")
    return host.strip("[]"), int(port)


def facility(text: str) -> int:
    """By name or number; ``daemon`` when none is given."""
    if not text:
        return _DAEMON
    if text in _FACILITIES:
        return _FACILITIES.index(text)
    if text.isascii() and text.isdigit() and len(text) < 3 and int(text) < len(_FACILITIES):
        return int(text)
    raise InvalidArgument("invalid syslog facility")


class Formatter:
    """Messages of one container. Keeps the head of the last second: its neighbours usually share it."""

    __slots__ = ("_facility", "_format", "_host", "_offset", "_pid", "_stamp", "_tag", "_when")

    def __init__(self, chosen: str, facility_number: int, tag: str, *, host: str, pid: int) -> None:
        self._format = chosen
        self._facility = facility_number
        self._tag = tag.encode()
        self._host = host.encode()
        self._pid = pid
        self._when = -1
        self._stamp = self._offset = b""

    def message(self, stream: str, text: bytes, now_ns: int) -> bytes:
        """``text`` without its newline, as one message."""
        priority = self._facility * 8 + _SEVERITY[stream]
        stamp = self._time(now_ns)
        if self._format.startswith("rfc5424"):
            head = b"<%d>1 %b %b %b %d %b -" % (priority, stamp, self._host, self._tag, self._pid, self._tag)
        elif self._format:
            head = b"<%d>%b %b %b[%d]:" % (priority, stamp, self._host, self._tag, self._pid)
        else:
            head = b"<%d>%b %b[%d]:" % (priority, stamp, self._tag, self._pid)
        return head + b" " + text + b"\n"

    def _time(self, now_ns: int) -> bytes:
        second, rest = divmod(now_ns, 1_000_000_000)
        new = self._format.startswith("rfc5424")
        if second != self._when:
            self._when = second
            local = time.localtime(second)
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", local).encode() if new else _bsd_time(local)
            self._offset = _zone(local.tm_gmtoff)
        if not new:
            return self._stamp
        return self._stamp + (b".%06d" % (rest // 1000) if self._format == "rfc5424micro" else b"") + self._offset


def _bsd_time(local: time.struct_time) -> bytes:
    """RFC 3164, 4.1.2; strftime(3) would speak the locale's language."""
    day = b"%b %2d" % (_MONTHS[local.tm_mon - 1], local.tm_mday)
    return b"%b %02d:%02d:%02d" % (day, local.tm_hour, local.tm_min, local.tm_sec)


def _zone(offset: int) -> bytes:
    if not offset:
        return b"Z"
    hours, minutes = divmod(abs(offset) // 60, 60)
    return b"%b%02d:%02d" % (b"-" if offset < 0 else b"+", hours, minutes)
