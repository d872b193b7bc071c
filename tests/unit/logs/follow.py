"""A follower beside a writer that rotates."""

from __future__ import annotations

import random
from collections.abc import Callable

from corten.logs.json_file import Writer
from corten.logs.reader import Follower


def assert_followed(writer: Writer, write: Callable[[int, int], None], rng: random.Random, *, lines: int) -> None:
    """``write(first, count)`` numbers by random portions; whoever follows, now and then, gets each of them once."""
    follower = Follower(writer.path)
    got: list[int] = []
    written = 0
    while written < lines:
        count = rng.randrange(1, 60)
        write(written, count)
        written += count
        if rng.random() < 0.4:
            got += [int(entry[2]) for entry in follower.poll()]
    while entries := follower.poll():
        got += [int(entry[2]) for entry in entries]
    follower.close()
    writer.close()
    assert got == list(range(written))
