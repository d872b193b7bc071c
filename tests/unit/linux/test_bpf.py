"""Shortened filters say of every call what the long ones say."""

from __future__ import annotations

import operator
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.linux import bpf, seccomp
from corten.runtime.seccomp import default_profile

ARCHITECTURES = (0xC000003E, 0x40000003, 0xC00000B7, 0x40000028, 0, 0xFFFFFFFF)
X32 = 0x40000000
HOLDS = {bpf.JEQ: operator.eq, bpf.JGT: operator.gt, bpf.JGE: operator.ge, bpf.JSET: operator.and_}


def execute(program: list[tuple[int, int, int, int]], data: bytes) -> int:
    """The kernel's interpreter, for the instructions libseccomp uses."""
    at = value = 0
    for _ in range(len(program)):
        code, jt, jf, k = program[at]
        at += 1
        if code == bpf.RET:
            return k
        if code == bpf.LD_ABS:
            (value,) = struct.unpack_from("=I", data, k)
        elif code == bpf.AND:
            value &= k
        elif code == bpf.JA:
            at += k
        else:
            at += jt if HOLDS[code](value, k) else jf
    raise AssertionError("a jump backwards")


def decode(program: bytes) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("=HBBI", program))


def long_and_short(profile: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, bytes]:
    with monkeypatch.context() as patch:
        patch.setattr(bpf, "shorten", lambda program: program)
        long = seccomp.compile_profile(profile)
    return long, bpf.shorten(long)


def calls(program: list[tuple[int, int, int, int]], profile: dict[str, Any], most: int) -> Iterator[bytes]:
    """Every number around every constant of the program and up to ``most``, with arguments that matter and some that
    do not; the latter alone where the program never looks at any."""
    constants = {k for code, _, _, k in program if code in (bpf.JEQ, bpf.JGT, bpf.JGE)}
    near = {(constant + step) & 0xFFFFFFFF for constant in constants for step in (-1, 0, 1)}
    numbers = near | set(range(most)) | set(range(X32, X32 + most))
    values = {argument[name] for rule in profile["syscalls"] for argument in rule.get("args") or ()
              for name in ("value", "valueTwo") if argument.get(name)}  # fmt: skip
    any_values = [(0,) * 6, ((1 << 64) - 1,) * 6]
    telling = [(value ^ flip,) * 6 for value in values for flip in (0, 1)]
    for architecture in ARCHITECTURES:
        for number in numbers:
            looks = telling if bpf._run(program, architecture, number)[0] == "go on" else []
            for arguments in (*any_values, *looks):
                yield struct.pack("=IIQ6Q", number, architecture, 0, *arguments)


def require_equal(long: bytes, short: bytes, profile: dict[str, Any], most: int) -> None:
    before, after = decode(long), decode(short)
    for data in calls(before, profile, most):
        assert execute(before, data) == execute(after, data), struct.unpack("=IIQ6Q", data)


@pytest.mark.parametrize("capabilities", [(), ("CAP_SYS_ADMIN", "CAP_SYS_TIME", "CAP_BPF")])
def test_the_default_profile(capabilities: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    profile = default_profile(capabilities)
    long, short = long_and_short(profile, monkeypatch)
    assert len(short) < 0.6 * len(long)
    require_equal(long, short, profile, 600)


NAMES = ("read", "write", "openat", "socket", "clone", "personality", "mount", "bpf", "ptrace", "fchmodat2")
ARGUMENT = st.builds(
    lambda index, value, other, op: {"index": index, "value": value, "valueTwo": other, "op": op},
    st.integers(0, 5), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.sampled_from(sorted(seccomp.OPERATORS)),
)  # fmt: skip
RULE = st.tuples(
    st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"]),
    st.lists(ARGUMENT, max_size=2, unique_by=lambda argument: argument["index"]),
)


@given(st.dictionaries(st.sampled_from(NAMES), RULE), st.sampled_from(["SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW"]))
def test_any_profile(rules: dict[str, tuple[str, list[dict[str, Any]]]], default: str) -> None:
    """One rule for each call: libseccomp 2.5.4 may never come back from two that overlap."""
    profile = {
        "defaultAction": default,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"],
        "syscalls": [{"names": [name], "action": action, "args": args} for name, (action, args) in rules.items()],
    }
    with pytest.MonkeyPatch.context() as patch:
        try:
            long, short = long_and_short(profile, patch)
        except seccomp.UnsupportedProfileError:
            return  # an architecture this libseccomp does not add
    assert len(short) <= len(long)
    require_equal(long, short, profile, 4)


def program(*instructions: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)


@pytest.mark.parametrize("compare", [bpf.JEQ, bpf.JGT, bpf.JGE])
def test_every_comparison(compare: int) -> None:
    """A filter that is made longer than needed by asking the same again."""
    load, same = (bpf.LD_ABS, 0, 0, bpf.NUMBER), (compare, 1, 0, 77)
    long = program(load, same, (bpf.RET, 0, 0, 1), *[same, (bpf.RET, 0, 0, 1)] * 3, (bpf.RET, 0, 0, 2))
    short = bpf.shorten(long)
    assert len(short) < len(long)
    require_equal(long, short, {"syscalls": []}, 100)


@pytest.mark.parametrize(
    "unusual",
    [
        program((bpf.LD_ABS, 0, 0, 0), (bpf.AND, 0, 0, 7), (bpf.JEQ, 0, 1, 3), (bpf.RET, 0, 0, 1), (bpf.RET, 0, 0, 2)),
        program((bpf.LD_ABS, 0, 0, 0), (bpf.JSET, 0, 1, 3), (bpf.RET, 0, 0, 1), (bpf.RET, 0, 0, 2)),
        program((bpf.LD_ABS, 0, 0, 4), (bpf.JGT, 0, 1, 3), (bpf.RET, 0, 0, 1), (bpf.RET, 0, 0, 2)),
        program((0x02, 0, 0, 0), (bpf.RET, 0, 0, 1)),  # st: scratch memory
    ],
)
def test_what_libseccomp_does_not_write_stays(unusual: bytes) -> None:
    assert bpf.shorten(unusual) == unusual
