"""The device allow list: v1 lines, and the eBPF program cgroup v2 wants instead.

A rule is an entry of OCI ``linux.resources.devices``: ``{"allow", "type" (a b c), "major", "minor", "access"}``; later
rules win. ``SUPPLIED`` are those of the devices the runtime-spec says every container has.
"""

from __future__ import annotations

import ctypes
import os
import struct

from corten.linux.syscall import call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

_BPF_PROG_LOAD: Final = 5
_BPF_PROG_ATTACH: Final = 8
_PROG_TYPE_CGROUP_DEVICE: Final = 15
_CGROUP_DEVICE: Final = 6
_F_ALLOW_MULTI: Final = 2

# linux/bpf.h: enum BPF_DEVCG_*.
_ACCESS: Final = {"m": 1, "r": 2, "w": 4}
_TYPE: Final = {"b": 1, "c": 2}

# eBPF opcodes (Documentation/bpf/standardization/instruction-set.rst).
_LDX_W: Final = 0x61
_MOV32_REG: Final = 0xBC
_AND32_IMM: Final = 0x54
_RSH32_IMM: Final = 0x74
_MOV64_IMM: Final = 0xB7
_JNE_IMM: Final = 0x55
_JNE_REG: Final = 0x5D
_EXIT: Final = 0x95
_TYPE_REGISTER, _ACCESS_REGISTER, _MAJOR_REGISTER, _MINOR_REGISTER = 2, 3, 4, 5

_READ_WRITE: Final = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, None))
SUPPLIED: Final[Sequence[dict[str, Any]]] = (
    {"allow": True, "type": "c", "major": None, "minor": None, "access": "m"},
    {"allow": True, "type": "b", "major": None, "minor": None, "access": "m"},
    *({"allow": True, "type": "c", "major": a, "minor": b, "access": "rwm"} for a, b in _READ_WRITE),
)


def line_v1(rule: dict[str, Any]) -> tuple[str, str]:
    """``(file, line)`` for the v1 devices controller."""
    file = "devices.allow" if rule.get("allow") else "devices.deny"
    kind = rule.get("type") or "a"
    access = rule.get("access") or "rwm"
    if kind == "a":
        return file, "a" if access == "rwm" else f"a *:* {access}"
    return file, f"{kind} {_number(rule.get('major'))}:{_number(rule.get('minor'))} {access}"


def _number(value: int | None) -> str:
    return "*" if value is None or value < 0 else str(value)


def opens_everything(rules: Sequence[dict[str, Any]]) -> bool:
    """Whether ``rules`` refuse nothing, as those of a privileged container."""
    allowed = False
    for rule in rules:
        if _matches_all(rule):
            allowed = bool(rule.get("allow"))
        elif not rule.get("allow"):
            allowed = False
    return allowed


def program(rules: Sequence[dict[str, Any]]) -> bytes:
    """The eBPF program (array of ``struct bpf_insn``): last matching rule wins, nothing matching is refused.

    Context is ``struct bpf_cgroup_dev_ctx {u32 access_type; u32 major; u32 minor;}``, access_type being
    ``access << 16 | type``.
    """
    code = [
        _instruction(_LDX_W, _TYPE_REGISTER, 1, 0, 0),
        _instruction(_MOV32_REG, _ACCESS_REGISTER, _TYPE_REGISTER, 0, 0),
        _instruction(_AND32_IMM, _TYPE_REGISTER, 0, 0, 0xFFFF),
        _instruction(_RSH32_IMM, _ACCESS_REGISTER, 0, 0, 16),
        _instruction(_LDX_W, _MAJOR_REGISTER, 1, 4, 0),
        _instruction(_LDX_W, _MINOR_REGISTER, 1, 8, 0),
    ]
    for rule in reversed(rules):
        code.extend(_rule(rule))
        if _matches_all(rule):  # what follows would never run, and the verifier refuses that
            return b"".join(code)
    code.extend(_verdict(allow=False))
    return b"".join(code)


def _matches_all(rule: dict[str, Any]) -> bool:
    return (rule.get("type") or "a") == "a" and set(rule.get("access") or "rwm") == set("rwm")


def _rule(rule: dict[str, Any]) -> list[bytes]:
    """Tests that jump behind the rule when it does not match, then its verdict."""
    kind, access = rule.get("type") or "a", rule.get("access") or "rwm"
    tests: list[tuple[int, int, int]] = []
    body: list[bytes] = []
    if kind != "a":
        tests.append((_TYPE_REGISTER, _TYPE[kind], 0))
        if rule.get("major") is not None and rule["major"] >= 0:
            tests.append((_MAJOR_REGISTER, rule["major"], 0))
        if rule.get("minor") is not None and rule["minor"] >= 0:
            tests.append((_MINOR_REGISTER, rule["minor"], 0))
    bits = 0
    for letter in access:
        bits |= _ACCESS[letter]
    verdict = _verdict(allow=bool(rule.get("allow")))
    masked = 3 if bits != 7 else 0
    left = len(tests) + masked + len(verdict)
    for register, value, _ in tests:
        left -= 1
        body.append(_instruction(_JNE_IMM, register, 0, left, value))
    if masked and rule.get("allow"):  # every access asked for must be within the rule's
        left -= 3
        body.append(_instruction(_MOV32_REG, 1, _ACCESS_REGISTER, 0, 0))
        body.append(_instruction(_AND32_IMM, 1, 0, 0, bits))
        body.append(_instruction(_JNE_REG, 1, _ACCESS_REGISTER, left, 0))
    elif masked:  # refused as soon as one access asked for is within the rule's
        left -= 3
        body.append(_instruction(_MOV32_REG, 1, _ACCESS_REGISTER, 0, 0))
        body.append(_instruction(_AND32_IMM, 1, 0, 0, bits))
        body.append(_instruction(0x15, 1, 0, left, 0))
    return body + verdict


def _verdict(*, allow: bool) -> list[bytes]:
    return [_instruction(_MOV64_IMM, 0, 0, 0, 1 if allow else 0), _instruction(_EXIT, 0, 0, 0, 0)]


def _instruction(code: int, target: int, source: int, offset: int, immediate: int) -> bytes:
    return struct.pack("=BBhi", code, source << 4 | target, offset, immediate)


def attach(directory: int, instructions: bytes) -> None:
    """bpf(2): load the program and attach it to the cgroup v2 directory behind the descriptor."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    license_name = ctypes.create_string_buffer(b"Apache")
    load = struct.pack(
        "=IIQQIIQII16sII",
        _PROG_TYPE_CGROUP_DEVICE, len(instructions) // 8, ctypes.addressof(code), ctypes.addressof(license_name),
        0, 0, 0, 0, 0, b"corten_devices", 0, _CGROUP_DEVICE,
    )  # fmt: skip
    loaded = call("bpf", _BPF_PROG_LOAD, load, len(load))
    try:
        request = struct.pack("=IIII", directory, loaded, _CGROUP_DEVICE, _F_ALLOW_MULTI)
        call("bpf", _BPF_PROG_ATTACH, request, len(request))
    finally:
        os.close(loaded)
