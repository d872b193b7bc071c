"""Classic BPF programs of seccomp(2), made shorter.

libseccomp gives every call a place of its own: over a thousand instructions for Docker's profile. The kernel checks and
compiles all of them at every install, and then tries every call number for its cache (seccomp_cache_prepare, since
Linux 5.11). But for one architecture a filter is a function of the number that is constant over ranges, and there are
few of those. So the function is read out of the program, by running it, and written down as a search over the ranges.
What looks at arguments is copied as it is.

Knows no profile. A program that does what none of libseccomp's does is left as it is.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final, TypeAlias

    Instruction: TypeAlias = tuple[int, int, int, int]  # code, jt, jf, k: struct sock_filter
    Outcome: TypeAlias = tuple[str, int]  # ("return", action), or ("go on", index of an instruction)

LD_ABS: Final = 0x20
AND: Final = 0x54
JA: Final = 0x05
JEQ: Final = 0x15
JGT: Final = 0x25
JGE: Final = 0x35
JSET: Final = 0x45
RET: Final = 0x06

NUMBER: Final = 0  # offsets in struct seccomp_data
ARCHITECTURE: Final = 4

_FORMAT: Final = "=HBBI"
_FARTHEST: Final = 255
_VALUES: Final = 1 << 32
_KNOWN: Final = frozenset({LD_ABS, AND, JA, JEQ, JGT, JGE, JSET, RET})


class _UnusualError(Exception):
    """The program is not one of libseccomp's making."""


def shorten(program: bytes) -> bytes:
    """A program of ``struct sock_filter`` with the same result for every struct seccomp_data, or ``program`` itself."""
    instructions: list[Instruction] = list(struct.iter_unpack(_FORMAT, program))
    try:
        made = _rewrite(instructions)
    except _UnusualError:
        return program
    if len(made) >= len(instructions):
        return program
    return b"".join(struct.pack(_FORMAT, *instruction) for instruction in made)


def _rewrite(program: Sequence[Instruction]) -> list[Instruction]:
    architectures, numbers = _constants(program)
    other = next(value for value in range(_VALUES) if value not in architectures)
    blocks = [_block(program, architecture, numbers) for architecture in (*architectures, other)]
    made: list[Instruction] = [(LD_ABS, 0, 0, ARCHITECTURE)]
    ahead = 2 * len(architectures)
    for index, architecture in enumerate(architectures):
        ahead -= 2
        made.append((JEQ, 0, 1, architecture))
        made.append((JA, 0, 0, ahead + sum(map(len, blocks[:index])) + len(blocks[-1])))
    return [*made, *blocks[-1], *(instruction for block in blocks[:-1] for instruction in block)]


def _constants(program: Sequence[Instruction]) -> tuple[list[int], list[int]]:
    """What architectures are compared with, and where what is done with a number may change: every path, up to the
    first look at an argument."""
    architectures: dict[int, None] = {}
    numbers = {0}
    pending, seen = [(0, -1)], set()  # instruction, offset of what is in the accumulator
    while pending:
        state = pending.pop()
        if state in seen:
            continue
        seen.add(state)
        at, loaded = state
        code, _, _, k = program[at]
        if code == LD_ABS:
            if k in (NUMBER, ARCHITECTURE):
                pending.append((at + 1, k))
            continue
        if code in (JEQ, JGT, JGE) and loaded == NUMBER:
            numbers.update(value for value in (k, k + 1) if value < _VALUES)
        elif code == JEQ and loaded == ARCHITECTURE:
            architectures[k] = None
        elif code not in (JA, RET):
            raise _UnusualError
        pending += [(following, loaded) for following in _followers(program, at)]
    return list(architectures), sorted(numbers)


def _followers(program: Sequence[Instruction], at: int) -> tuple[int, ...]:
    code, jt, jf, k = program[at]
    if code == RET:
        return ()
    if code == JA:
        return (at + 1 + k,)
    return (at + 1 + jt, at + 1 + jf) if code in (JEQ, JGT, JGE, JSET) else (at + 1,)


def _block(program: Sequence[Instruction], architecture: int, numbers: Sequence[int]) -> list[Instruction]:
    """The part for one architecture: which range the number is in, and what follows from that."""
    ranges: list[tuple[int, Outcome]] = []
    for number in numbers:
        outcome = _run(program, architecture, number)
        if not ranges or ranges[-1][1] != outcome:
            ranges.append((number, outcome))
    going_on = sorted({index for _, (kind, index) in ranges if kind == "go on"})
    search = list(_search(ranges))
    if len(ranges) > 1:
        search.insert(0, (LD_ABS, 0, 0, NUMBER))
    made: list[Instruction] = []
    starts: dict[int, int] = {}
    for index in going_on:
        starts[index] = len(search) + len(made)
        made += _part(program, index)
    for at, (code, jt, _, k) in enumerate(search):
        if code == JA and jt:  # marked by _search: k is an instruction of the old program
            search[at] = (JA, 0, 0, starts[k] - at - 1)
    return [*search, *made]


def _run(program: Sequence[Instruction], architecture: int, number: int) -> Outcome:
    """What the program does with a call, as far as its arguments do not matter."""
    at, value = 0, 0
    while True:
        code, jt, jf, k = program[at]
        at += 1
        if code == RET:
            return "return", k
        if code == JA:
            at += k
        elif code == LD_ABS:
            if k not in (NUMBER, ARCHITECTURE):
                return "go on", at - 1
            value = number if k == NUMBER else architecture
        else:
            holds = value == k if code == JEQ else value > k if code == JGT else value >= k
            at += jt if holds else jf


def _search(ranges: Sequence[tuple[int, Outcome]]) -> Iterator[Instruction]:
    """A binary search for the range the accumulator is in. Jumps to the old program have ``jt`` set, as a mark."""
    if len(ranges) == 1:
        kind, value = ranges[0][1]
        yield (RET, 0, 0, value) if kind == "return" else (JA, 1, 0, value)
        return
    middle = len(ranges) // 2
    below = list(_search(ranges[:middle]))
    if len(below) <= _FARTHEST:
        yield JGE, len(below), 0, ranges[middle][0]
    else:
        yield JGE, 0, 1, ranges[middle][0]
        yield JA, 0, 0, len(below)
    yield from below
    yield from _search(ranges[middle:])


def _part(program: Sequence[Instruction], start: int) -> list[Instruction]:
    """Everything that can be reached from a load, in its old order: jumps of BPF only lead forward."""
    reached, pending = set(), [start]
    while pending:
        at = pending.pop()
        if at not in reached:
            if program[at][0] not in _KNOWN:
                raise _UnusualError
            reached.add(at)
            pending += _followers(program, at)
    order = sorted(reached)
    new = {old: index for index, old in enumerate(order)}
    made: list[Instruction] = []
    for index, old in enumerate(order):
        code, jt, jf, k = program[old]
        if code == JA:
            k = new[old + 1 + k] - index - 1
        elif code in (JEQ, JGT, JGE, JSET):
            jt, jf = new[old + 1 + jt] - index - 1, new[old + 1 + jf] - index - 1
        made.append((code, jt, jf, k))
    return made
