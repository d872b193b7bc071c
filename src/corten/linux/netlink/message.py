"""netlink(7) messages: packing, one socket, acknowledgements, dumps.

Owns the framing every family shares. Refuses to know any family's attributes.

A batch is one sendmsg of several messages; the kernel handles them in order and, in rtnetlink, goes on after one that
failed. :meth:`Connection.execute` therefore waits for every acknowledgement and then raises the first error.
"""

from __future__ import annotations

import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Final, Self

ROUTE: Final = 0
NETFILTER: Final = 12

NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400
NLM_F_REPLACE: Final = 0x100
NLM_F_DUMP: Final = 0x300
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_ACK_TLVS: Final = 0x200
NLM_F_CAPPED: Final = 0x100

NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLMSGERR_ATTR_MSG: Final = 1

NLA_F_NESTED: Final = 0x8000
NLA_TYPE_MASK: Final = 0x3FFF

SOL_NETLINK: Final = 270
NETLINK_CAP_ACK: Final = 10
NETLINK_EXT_ACK: Final = 11
NETLINK_GET_STRICT_CHK: Final = 12

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_RECEIVE_SIZE = 1 << 16
_DUMP_ATTEMPTS = 5
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


class NetlinkError(OSError):
    """The kernel refused a message: errno, its own explanation where it gives one, and the operation's name."""


def attribute(kind: int, payload: bytes) -> bytes:
    """One ``struct nlattr`` with its padding."""
    size = 4 + len(payload)
    return _ATTRIBUTE.pack(size, kind) + payload + _PADDING[size & 3]


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """A NUL terminated string attribute."""
    return attribute(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    """A 32-bit attribute in host order."""
    return _ATTRIBUTE.pack(8, kind) + struct.pack("=I", value)


def attributes(data: bytes | memoryview) -> Iterator[tuple[int, bytes]]:
    """The (type, payload) pairs of a message body; stops at the first that does not fit."""
    offset, end = 0, len(data)
    while offset + 4 <= end:
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if size < 4 or offset + size > end:
            return
        yield kind & NLA_TYPE_MASK, bytes(data[offset + 4 : offset + size])
        offset += (size + 3) & ~3


class Message:
    """One request: its type, flags and body; ``label`` names it in errors (``create veth ct01``)."""

    __slots__ = ("body", "flags", "kind", "label")

    def __init__(self, kind: int, flags: int, body: bytes, *, label: str) -> None:
        self.kind = kind
        self.flags = flags | NLM_F_REQUEST
        self.body = body
        self.label = label

    def encode(self, sequence: int) -> bytes:
        """The bytes on the wire."""
        return _HEADER.pack(16 + len(self.body), self.kind, self.flags, sequence, 0) + self.body


def frames(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The (type, flags, sequence, body) of each message in one datagram."""
    offset, end = 0, len(data)
    while offset + 16 <= end:
        size, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if size < 16 or offset + size > end:
            return
        yield kind, flags, sequence, data[offset + 16 : offset + size]
        offset += (size + 3) & ~3


def error_of(label: str, flags: int, body: bytes) -> NetlinkError | None:
    """What an NLMSG_ERROR frame says: None for an acknowledgement, else the error with the kernel's own words."""
    (negative,) = struct.unpack_from("=i", body)
    if negative == 0:
        return None
    explanation = ""
    if flags & NLM_F_ACK_TLVS:
        (echoed,) = struct.unpack_from("=I", body, 4)
        start = 20 if flags & NLM_F_CAPPED else 4 + ((echoed + 3) & ~3)
        for kind, payload in attributes(body[start:]):
            if kind == NLMSGERR_ATTR_MSG:
                explanation = ": " + payload.rstrip(b"\0").decode("utf-8", "replace")
    return NetlinkError(-negative, f"{label}: {os.strerror(-negative)}{explanation}")


class Connection:
    """A netlink socket in the network namespace of the thread that made it; not for two threads at once."""

    __slots__ = ("_sequence", "_socket")

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._sequence = 0
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        # The kernel answers at once, inside sendmsg; a wait of seconds means an acknowledgement was lost.
        self._socket.settimeout(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def execute(self, messages: Sequence[Message]) -> None:
        """Send ``messages`` in one datagram, wait for each that asked for NLM_F_ACK, raise the first NetlinkError."""
        labels: dict[int, str] = {}
        awaited: set[int] = set()
        parts = []
        first = self._sequence + 1
        for message in messages:
            self._sequence += 1
            labels[self._sequence] = message.label
            if message.flags & NLM_F_ACK:
                awaited.add(self._sequence)
            parts.append(message.encode(self._sequence))
        self._socket.sendto(b"".join(parts), (0, 0))
        failure: NetlinkError | None = None
        while awaited:
            for kind, flags, sequence, body in frames(self._socket.recv(_RECEIVE_SIZE)):
                if kind != NLMSG_ERROR or sequence not in labels:
                    continue
                awaited.discard(sequence)
                error = error_of(labels[sequence], flags, body)
                if error is not None and failure is None:
                    failure = error
                if error is not None and sequence == first:
                    # nfnetlink looks no further at a batch that it refuses at its first message.
                    awaited.clear()
        if failure is not None:
            raise failure

    def dump(self, message: Message) -> list[bytes]:
        """The bodies of every answer to a dump, or to one NLM_F_ACK query; started again when a dump was overtaken."""
        for _ in range(_DUMP_ATTEMPTS):
            bodies, interrupted = self._dump_once(message)
            if not interrupted:
                return bodies
        raise InterruptedError(f"{message.label}: changed during every one of {_DUMP_ATTEMPTS} dumps")

    def _dump_once(self, message: Message) -> tuple[list[bytes], bool]:
        self._sequence += 1
        self._socket.sendto(message.encode(self._sequence), (0, 0))
        bodies: list[bytes] = []
        interrupted = False
        while True:
            for kind, flags, sequence, body in frames(self._socket.recv(_RECEIVE_SIZE)):
                if sequence != self._sequence:
                    continue
                interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
                if kind == NLMSG_ERROR:
                    error = error_of(message.label, flags, body)
                    if error is not None:
                        raise error
                    return bodies, interrupted
                if kind == NLMSG_DONE:
                    return bodies, interrupted
                bodies.append(body)
