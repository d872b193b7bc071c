"""What an attached client is to the engine: a connection that can be handed over as a raw descriptor, and what it
asked for.

Owns the shape of that hand-over and of detach keys. Refuses to know how a transport frames its bytes: after
:meth:`ClientStream.detach` they go between the shim and the client without the engine.
"""

import os
import socket
from base64 import b64encode
from typing import Any, Final, Protocol

import msgspec

from corten.errors import InvalidArgument

#: ctrl-p ctrl-q, as every Docker client documents it.
DEFAULT_DETACH_KEYS: Final = (16, 17)

_NAMED_KEYS: Final = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


class ClientStream(Protocol):
    """A hijacked connection, made by the server for each transport."""

    async def detach(self) -> tuple[int, bytes]:
        """The connected descriptor, now the caller's to close, and the bytes already read from it.

        The response head has been flushed; the server never touches the connection again.
        """
        ...


class AttachOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The query of ``POST /containers/{id}/attach``; ``multiplexed`` is false only where the caller wants raw
    bytes (websocket).
    """

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    stream: bool = False
    logs: bool = False
    detach_keys: str = ""
    multiplexed: bool = True


class LogsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The query of ``GET /containers/{id}/logs``: times in ns since the epoch (0 = unset), ``tail`` -1 = all."""

    stdout: bool = False
    stderr: bool = False
    follow: bool = False
    timestamps: bool = False
    details: bool = False
    since_ns: int = 0
    until_ns: int = 0
    tail: int = -1


class ExecStartOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The body of ``POST /exec/{id}/start``; ``console_size`` is (height, width)."""

    detach: bool = False
    tty: bool = False
    console_size: tuple[int, int] | None = None


def parse_detach_keys(text: str) -> tuple[int, ...]:
    """``ctrl-p,ctrl-q`` or ``a,b`` as byte values; empty means Docker's default.

    Raises:
        InvalidArgument: a key is neither one character nor ``ctrl-`` and one of ``a-z@[\\]^_``.
    """
    if not text:
        return DEFAULT_DETACH_KEYS
    return tuple(_key(word) for word in text.split(","))


def _key(word: str) -> int:
    if len(word) == 1 and word.isascii():
        return ord(word)
    control, _, letter = word.partition("-")
    if control == "ctrl" and len(letter) == 1:
        if letter.isascii() and letter.isalpha():
            return ord(letter.lower()) - 96
        if letter in _NAMED_KEYS:
            return _NAMED_KEYS[letter]
    raise InvalidArgument(f"Unknown character: '{word}'")


class Attachment:
    """A client's descriptor on its way to the shim; closes it unless :meth:`release` handed it over."""

    __slots__ = ("_fd", "options")

    def __init__(self, fd: int, options: dict[str, Any]) -> None:
        self._fd = fd
        self.options = options

    @property
    def fd(self) -> int:
        """The client's socket."""
        return self._fd

    def hung_up(self) -> bool:
        """Whether the client is gone for good (both directions closed)."""
        try:
            with socket.socket(fileno=os.dup(self._fd)) as peer:
                return peer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        except OSError:
            return True

    def close(self) -> None:
        """Close our copy of the descriptor; harmless twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


async def take_over(client: ClientStream, options: AttachOptions, *, terminal: bool, stdin_open: bool) -> Attachment:
    """Detach ``client`` from its server and say what the shim shall do with it (the shim's ``attach`` fields)."""
    keys = parse_detach_keys(options.detach_keys)
    fd, early = await client.detach()
    wanted: dict[str, Any] = {
        "stdin": options.stdin and stdin_open,
        "stdout": options.stdout,
        "stderr": options.stderr and not terminal,
        "framed": options.multiplexed and not terminal,
        "detach_keys": list(keys) if terminal else [],
        "prefix": b64encode(early).decode(),
    }
    return Attachment(fd, wanted)
