"""Seccomp: compile an OCI profile to a BPF program with libseccomp, install a program with seccomp(2).

Compiling costs milliseconds and loads a library, so it is done once per profile by whoever holds the cache; installing
needs neither. Knows no default profile.
"""

from __future__ import annotations

import ctypes
import os
import struct

from corten.linux.syscall import MACHINE, call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

_SET_MODE_FILTER: Final = 1
FLAGS: Final[Mapping[str, int]] = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
_NEW_LISTENER: Final = 8
_ENOSYS: Final = 38
_EPERM: Final = 1
_CTL_OPTIMIZE: Final = 8  # SCMP_FLTATR_CTL_OPTIMIZE, libseccomp 2.5; 2 = a binary tree
_CTL_NNP: Final = 3

ACTIONS: Final[Mapping[str, int]] = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_DATA: Final = frozenset({"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"})
OPERATORS: Final[Mapping[str, int]] = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
# linux/audit.h AUDIT_ARCH_* of the machines this package has system call numbers for.
_NATIVE_AUDIT: Final[Mapping[str, int]] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT: Final = 0x40000000

_LD_ABS: Final = 0x20
_JEQ: Final = 0x15
_JGT: Final = 0x25
_RET: Final = 0x06


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class UnsupportedProfileError(ValueError):
    """The profile uses an action, operator or architecture this compiler does not know; the text names it."""


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_arch_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_arch_native.restype = ctypes.c_uint32
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison),
    ]  # fmt: skip
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


def compile_profile(profile: dict[str, Any]) -> bytes:
    """An OCI ``linux.seccomp`` document as an array of ``struct sock_filter``, a search over ranges of calls.

    Calls the running libseccomp has no name for are skipped; calls newer than every call the profile names answer
    ENOSYS, so that programs fall back instead of failing with EPERM. Raises UnsupportedProfileError, or OSError
    when libseccomp is missing.
    """
    _check_listener(profile)
    library = _load()
    default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    context = library.seccomp_init(default)
    if not context:
        raise UnsupportedProfileError("libseccomp refused the default action")
    try:
        library.seccomp_attr_set(context, _CTL_OPTIMIZE, 2)
        library.seccomp_attr_set(context, _CTL_NNP, 0)
        _add_architectures(library, context, profile.get("architectures") or [])
        newest = 0
        for rule in profile.get("syscalls") or []:
            newest = max(newest, _add_rule(library, context, rule, default))
        program = _export(library, context)
    finally:
        library.seccomp_release(context)
    from corten.linux import bpf  # not for a process that only installs

    return bpf.shorten(_answer_enosys_beyond(newest, default) + program)


def uses_notify(profile: dict[str, Any]) -> bool:
    """Whether a rule hands calls to a listener."""
    return any(rule["action"] == "SCMP_ACT_NOTIFY" for rule in profile.get("syscalls") or ())


def _check_listener(profile: dict[str, Any]) -> None:
    """What would stop the process that installs the filter, or leave its calls with nobody to answer them."""
    if profile["defaultAction"] == "SCMP_ACT_NOTIFY":
        raise UnsupportedProfileError("SCMP_ACT_NOTIFY cannot be used as default action")
    if profile.get("listenerMetadata") and not profile.get("listenerPath"):
        raise UnsupportedProfileError("listenerMetadata needs a listenerPath")
    for rule in profile.get("syscalls") or ():
        if not rule["names"]:
            raise UnsupportedProfileError("a rule must name at least one call")
        if rule["action"] != "SCMP_ACT_NOTIFY":
            continue
        if not profile.get("listenerPath"):
            raise UnsupportedProfileError("SCMP_ACT_NOTIFY needs a listenerPath")
        if "write" in rule["names"]:  # by which the listener's number leaves the container
            raise UnsupportedProfileError("SCMP_ACT_NOTIFY cannot be used for the write syscall")


def _action(name: str, errno_ret: int | None) -> int:
    try:
        value = ACTIONS[name]
    except KeyError:
        raise UnsupportedProfileError(f"seccomp action {name} is not supported") from None
    if name in _WITH_DATA:
        value |= _EPERM if errno_ret is None else errno_ret & 0xFFFF
    elif errno_ret is not None:
        raise UnsupportedProfileError(f"seccomp action {name} takes no errno")
    return value


def _add_architectures(library: ctypes.CDLL, context: int, names: Sequence[str]) -> None:
    for name in names:
        token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
        if not token:
            raise UnsupportedProfileError(f"seccomp architecture {name} is not supported")
        if token != library.seccomp_arch_native():
            library.seccomp_arch_add(context, token)


def _add_rule(library: ctypes.CDLL, context: int, rule: dict[str, Any], default: int) -> int:
    """Add one entry; returns the highest native number it names. A rule that says what is done anyway adds nothing."""
    action = _action(rule["action"], rule.get("errnoRet"))
    newest = 0
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:  # unknown to this libseccomp, or a pseudo number: not a call of this machine
            if number == -1:
                continue
        else:
            newest = max(newest, number)
        if action == default:
            continue
        for comparisons in _comparisons(rule.get("args") or []):
            array = (_Comparison * len(comparisons))(*comparisons)
            result = library.seccomp_rule_add_array(context, action, number, len(comparisons), array)
            if result and number >= 0:
                raise UnsupportedProfileError(f"libseccomp refused the rule for {name}: {os.strerror(-result)}")
    return newest


def _comparisons(arguments: Sequence[dict[str, Any]]) -> list[list[_Comparison]]:
    """Conditions as rules: all of one rule must hold; two on the same argument mean either (OCI runtime-spec)."""
    made = []
    for argument in arguments:
        operator = argument["op"]
        if operator not in OPERATORS:
            raise UnsupportedProfileError(f"seccomp operator {operator} is not supported")
        made.append(
            _Comparison(argument["index"], OPERATORS[operator], argument["value"], argument.get("valueTwo") or 0)
        )
    if len({comparison.arg for comparison in made}) != len(made):
        return [[comparison] for comparison in made]
    return [made]


def _export(library: ctypes.CDLL, context: int) -> bytes:
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        if library.seccomp_export_bpf(context, fd):
            raise UnsupportedProfileError("libseccomp could not export the program")
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)


def _answer_enosys_beyond(newest: int, default: int) -> bytes:
    """A prologue: native calls with a number above ``newest`` answer ENOSYS instead of the default error.

    Only where the default is an error: a profile that allows or kills by default means what it says.
    """
    audit = _NATIVE_AUDIT.get(MACHINE)
    if audit is None or not newest or default & 0xFFFF0000 != ACTIONS["SCMP_ACT_ERRNO"]:
        return b""
    instructions = (
        (_LD_ABS, 0, 0, 4),  # seccomp_data.arch
        (_JEQ, 0, 4, audit),
        (_LD_ABS, 0, 0, 0),  # seccomp_data.nr
        (_JGT, 2, 0, _X32_BIT - 1),  # x32 calls are none of ours
        (_JGT, 0, 1, newest),
        (_RET, 0, 0, ACTIONS["SCMP_ACT_ERRNO"] | _ENOSYS),
    )
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)


class _Version(ctypes.Structure):
    _fields_ = (("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint))


def library_version() -> str:
    """The libseccomp in use, as "2.5.4"; OSError when there is none."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_version.restype = ctypes.POINTER(_Version)
    found = library.seccomp_version().contents
    return f"{found.major}.{found.minor}.{found.micro}"


def filter_flags(profile: dict[str, Any]) -> int:
    """OCI ``linux.seccomp.flags`` as bits of seccomp(2), and that for a listener where the profile needs one.

    A filter is installed by a process with one thread, so that TSYNC, which a listener excludes, says nothing then;
    the flag about waiting for a listener says nothing where there is none, and the kernel refuses it.
    """
    value = 0
    for name in profile.get("flags") or ():
        if name not in FLAGS:
            raise UnsupportedProfileError(f"seccomp flag {name} is not supported")
        value |= FLAGS[name]
    if uses_notify(profile):
        return value & ~FLAGS["SECCOMP_FILTER_FLAG_TSYNC"] | _NEW_LISTENER
    return value & ~FLAGS["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]


def install(program: bytes, flags: int = 0) -> int:
    """seccomp(2) SECCOMP_SET_MODE_FILTER: needs CAP_SYS_ADMIN or no_new_privs. ``program`` is what compile gave.

    Returns the listener's descriptor where :func:`filter_flags` asked for one, else 0.
    """
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    return call("seccomp", _SET_MODE_FILTER, flags, header)
