"""How stdout and stderr share one connection when there is no terminal; pure.

A frame is 8 bytes of head and its payload: stream type (0 stdin, 1 stdout, 2 stderr, 3 an error of the engine), three
zero bytes, payload length as a big-endian 32-bit number (Engine API reference, "Attach to a container", stream format).
"""

import struct
from collections.abc import Iterator
from typing import Final

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
SYSTEM_ERROR: Final = 3

HEAD: Final = struct.Struct(">BxxxI")

#: Content types of a hijacked connection: raw with a terminal (and for every API before 1.42), else multiplexed.
RAW: Final = "application/vnd.docker.raw-stream"
MULTIPLEXED: Final = "application/vnd.docker.multiplexed-stream"


def frame(stream: int, payload: bytes) -> bytes:
    """``payload`` as one frame of ``stream``."""
    return HEAD.pack(stream, len(payload)) + payload


class Demultiplexer:
    """Frames out of chunks cut anywhere; holds at most one incomplete frame."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """``(stream, payload)`` of every frame that is complete now.

        Raises:
            ValueError: what comes is no frame (a raw stream was taken for a multiplexed one).
        """
        data = self._pending + chunk if self._pending else chunk
        position = 0
        while len(data) - position >= HEAD.size:
            stream, length = HEAD.unpack_from(data, position)
            if stream > SYSTEM_ERROR or data[position + 1 : position + 4] != b"\0\0\0":
                raise ValueError(f"not a frame head: {data[position : position + HEAD.size].hex()}")
            end = position + HEAD.size + length
            if end > len(data):
                break
            yield stream, data[position + HEAD.size : end]
            position = end
        self._pending = data[position:]

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not complete; other than 0 at the end of a stream means it was cut off."""
        return len(self._pending)
