"""Cutting what a container writes into messages, for sinks that take one at a time: as Docker's copier does; pure."""

from __future__ import annotations

import os

from corten.logs.json_file import PIECE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    #: Of a line in pieces: an id they share, which one this is (from 1), and whether the line ends with it.
    Part: TypeAlias = "tuple[str, int, bool]"


class Cutter:
    """One stream of one container. What has no newline yet is held back, up to PIECE bytes."""

    __slots__ = ("_held", "_line", "_ordinal")

    def __init__(self) -> None:
        self._held = b""
        self._line = ""
        self._ordinal = 0

    def feed(self, chunk: bytes) -> Iterator[tuple[bytes, Part | None]]:
        """Texts without their newlines; ``Part`` for a piece of a line, None for a whole one."""
        data = self._held + chunk if self._held else chunk
        start = 0
        while True:
            end = data.find(b"\n", start, start + PIECE)
            if end >= 0:
                yield data[start:end], self._part(last=True) if self._line else None
                start = end + 1
            elif len(data) - start >= PIECE:
                yield data[start : start + PIECE], self._part(last=False)
                start += PIECE
            else:
                self._held = data[start:]
                return

    def finish(self) -> Iterator[tuple[bytes, Part | None]]:
        """The stream has ended: what is held, as a piece whose line never ends."""
        held, self._held = self._held, b""
        if held:
            yield held, self._part(last=False)
        self._line = ""

    def _part(self, *, last: bool) -> Part:
        if not self._line:
            self._line, self._ordinal = os.urandom(32).hex(), 0
        self._ordinal += 1
        part = (self._line, self._ordinal, last)
        if last:
            self._line = ""
        return part
