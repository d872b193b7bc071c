"""The shape of config.json: which member holds what kind of value (runtime-spec 1.2).

A document of the wrong shape is refused with the JSON path of the member that is wrong, before anything reads it. Owns
no meaning: which values are supported is :mod:`corten.oci.runtime`'s. A member that is not in these tables is ignored,
as the specification demands ("Extensibility"); null is a member that is not there.

A kind is ``str``, ``bool``, a range of integers, ``[kind]``, ``{"*": kind}`` (a map) or ``(members, required)``.
"""

from __future__ import annotations

from corten.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_I32: Final = range(-(1 << 31), 1 << 31)
_I64: Final = range(-(1 << 63), 1 << 63)
_U16: Final = range(1 << 16)
_U32: Final = range(1 << 32)
_U64: Final = range(1 << 64)
_TEXTS: Final = [str]

_HOOK: Final = ({"path": str, "args": _TEXTS, "env": _TEXTS, "timeout": _I64}, ("path",))
HOOKS: Final = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_ID_MAPPING: Final = (
    {"containerID": _U32, "hostID": _U32, "size": _U32},
    ("containerID", "hostID", "size"),
)
_MOUNT: Final = (
    {
        "destination": str, "type": str, "source": str, "options": _TEXTS,
        "uidMappings": [_ID_MAPPING], "gidMappings": [_ID_MAPPING],
    },
    ("destination",),
)  # fmt: skip
_SETS: Final = ("bounding", "effective", "inheritable", "permitted", "ambient")
PROCESS: Final = (
    {
        "terminal": bool,
        "consoleSize": ({"height": _U32, "width": _U32}, ("height", "width")),
        "cwd": str,
        "env": _TEXTS,
        "args": _TEXTS,
        "commandLine": str,
        "user": (
            {
                "uid": _U32, "gid": _U32, "umask": range(0o1000), "additionalGids": [_U32], "username": str,
                "corten.user": str, "corten.groups": _TEXTS,
            },
            (),
        ),
        "rlimits": [({"type": str, "soft": _U64, "hard": _U64}, ("type", "soft", "hard"))],
        "apparmorProfile": str,
        "capabilities": (dict.fromkeys(_SETS, _TEXTS), ()),
        "noNewPrivileges": bool,
        "oomScoreAdj": range(-1000, 1001),
        "scheduler": (
            {
                "policy": str, "nice": _I32, "priority": _I32, "flags": _TEXTS, "runtime": _U64, "deadline": _U64,
                "period": _U64,
            },
            ("policy",),
        ),
        "selinuxLabel": str,
        "ioPriority": ({"class": str, "priority": _I64}, ("class",)),
        "execCPUAffinity": ({"initial": str, "final": str}, ()),
    },
    (),
)  # fmt: skip
_RATE: Final = ({"major": _I64, "minor": _I64, "rate": _U64}, ("major", "minor", "rate"))
RESOURCES: Final = (
    {
        "devices": [({"allow": bool, "type": str, "major": _I64, "minor": _I64, "access": str}, ())],
        "memory": (
            {
                "limit": _I64, "reservation": _I64, "swap": _I64, "kernel": _I64, "kernelTCP": _I64,
                "swappiness": _U64, "disableOOMKiller": bool, "useHierarchy": bool, "checkBeforeUpdate": bool,
            },
            (),
        ),
        "cpu": (
            {
                "shares": _U64, "quota": _I64, "burst": _U64, "period": _U64, "realtimeRuntime": _I64,
                "realtimePeriod": _U64, "cpus": str, "mems": str, "idle": _I64,
            },
            (),
        ),
        "blockIO": (
            {
                "weight": _U16,
                "leafWeight": _U16,
                "weightDevice": [
                    ({"major": _I64, "minor": _I64, "weight": _U16, "leafWeight": _U16}, ("major", "minor"))
                ],
                "throttleReadBpsDevice": [_RATE],
                "throttleWriteBpsDevice": [_RATE],
                "throttleReadIOPSDevice": [_RATE],
                "throttleWriteIOPSDevice": [_RATE],
            },
            (),
        ),
        "hugepageLimits": [({"pageSize": str, "limit": _U64}, ("pageSize", "limit"))],
        "network": (
            {"classID": _U32, "priorities": [({"name": str, "priority": _U32}, ("name", "priority"))]},
            (),
        ),
        "pids": ({"limit": _I64}, ()),
        "rdma": {"*": ({"hcaHandles": _U32, "hcaObjects": _U32}, ())},
        "unified": {"*": str},
    },
    (),
)  # fmt: skip
SECCOMP: Final = (
    {
        "defaultAction": str,
        "defaultErrnoRet": _U32,
        "architectures": _TEXTS,
        "flags": _TEXTS,
        "listenerPath": str,
        "listenerMetadata": str,
        "syscalls": [
            (
                {
                    "names": _TEXTS,
                    "action": str,
                    "errnoRet": _U32,
                    "args": [
                        (
                            {"index": range(6), "value": _U64, "valueTwo": _U64, "op": str},
                            ("index", "value", "op"),
                        )
                    ],
                },
                ("names", "action"),
            )
        ],
    },
    ("defaultAction",),
)  # fmt: skip
_DEVICE: Final = (
    {
        "type": str, "path": str, "major": range(1 << 32), "minor": range(1 << 32), "fileMode": _U32, "uid": _U32,
        "gid": _U32,
    },
    ("type", "path"),
)  # fmt: skip
_LINUX: Final = (
    {
        "namespaces": [({"type": str, "path": str}, ("type",))],
        "uidMappings": [_ID_MAPPING],
        "gidMappings": [_ID_MAPPING],
        "timeOffsets": {"*": ({"secs": _I64, "nanosecs": _U32}, ())},
        "devices": [_DEVICE],
        "cgroupsPath": str,
        "resources": RESOURCES,
        "intelRdt": ({}, ()),
        "netDevices": {"*": ({"name": str}, ())},
        "sysctl": {"*": str},
        "seccomp": SECCOMP,
        "rootfsPropagation": str,
        "maskedPaths": _TEXTS,
        "readonlyPaths": _TEXTS,
        "mountLabel": str,
        "personality": ({"domain": str, "flags": _TEXTS}, ("domain",)),
    },
    (),
)
CONFIG: Final = (
    {
        "ociVersion": str,
        "root": ({"path": str, "readonly": bool}, ()),
        "mounts": [_MOUNT],
        "process": PROCESS,
        "hostname": str,
        "domainname": str,
        "hooks": (
            {kind: [_HOOK] for kind in HOOKS},
            (),
        ),
        "annotations": {"*": str},
        "linux": _LINUX,
    },
    (),
)


_FOUND: Final = {
    bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array", dict: "an object",
}  # fmt: skip


def check(value: object, kind: Any, path: str) -> None:
    """Raise InvalidArgument naming the JSON path when ``value`` is not of ``kind``."""
    if kind is str:
        if not isinstance(value, str):
            raise _wrong(value, path, "a string")
        if not value.isascii() or "\0" in value:
            _check_text(value, path)
    elif kind is bool:
        if not isinstance(value, bool):
            raise _wrong(value, path, "a boolean")
    elif isinstance(kind, range):
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong(value, path, "an integer")
        if value not in kind:
            raise InvalidArgument(f"{path} must be from {kind.start} to {kind.stop - 1}, not {value}")
    elif isinstance(kind, list):
        if not isinstance(value, list):
            raise _wrong(value, path, "an array")
        for index, item in enumerate(value):
            check(item, kind[0], f"{path}[{index}]")
    else:
        _check_object(value, kind, path)


def without_nulls(value: Any) -> Any:
    """A document as its readers want it: a member that is null is not there."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def _check_object(value: object, kind: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise _wrong(value, path, "an object")
    if isinstance(kind, dict):
        for name, item in value.items():
            check(name, str, path)
            check(item, kind["*"], f"{path}.{name}")
        return
    members, required = kind
    for name in required:
        if value.get(name) is None:
            raise InvalidArgument(f"{path}.{name} must be given")
    for name, item in value.items():
        if item is not None and name in members:
            check(item, members[name], f"{path}.{name}" if path else name)


def _check_text(value: str, path: str) -> None:
    """What no system call can be given."""
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidArgument(f"{path} must be valid Unicode") from None
    if "\0" in value:
        raise InvalidArgument(f"{path} must not contain null bytes")


def _wrong(value: object, path: str, wanted: str) -> InvalidArgument:
    found = _FOUND.get(type(value), "null")
    return InvalidArgument(f"{path or 'config.json'} must be {wanted}, not {found}")
