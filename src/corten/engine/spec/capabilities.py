"""Capability sets as ``--cap-add``, ``--cap-drop`` and ``--privileged`` give them; pure.

Names are capabilities(7)'s, in the kernel's order; ``ALL`` and a missing ``CAP_`` are understood as Docker
understands them.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from corten.errors import InvalidArgument

#: linux/capability.h, Linux 6.1; index = number.
KNOWN: Final = tuple(
    "CAP_" + name
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ]
)

#: Docker's fourteen.
DEFAULT: Final = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)

ALL: Final = "ALL"


def normalize(names: Iterable[str]) -> list[str]:
    """``net_admin`` and ``CAP_NET_ADMIN`` alike as the latter; ``ALL`` stays.

    Raises:
        InvalidArgument: the kernel has no such capability.
    """
    result = []
    for name in names:
        upper = name.upper()
        if upper in (ALL, "CAP_ALL"):
            result.append(ALL)
            continue
        full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
        if full not in KNOWN:
            raise InvalidArgument(f"unknown capability: {full!r}".replace("'", '"'))
        result.append(full)
    return result


def effective(
    add: Sequence[str], drop: Sequence[str], *, privileged: bool, available: Sequence[str] = KNOWN
) -> tuple[str, ...]:
    """The set a container's root gets. ``available`` is what this host's kernel knows.

    Docker's order: ``--privileged`` wins over all; ``ALL`` in ``drop`` empties the default set before ``add`` counts;
    ``ALL`` in ``add`` means everything but what ``drop`` names.
    """
    if privileged:
        return tuple(available)
    adds, drops = normalize(add), normalize(drop)
    if not adds and not drops:
        return DEFAULT
    if ALL in adds:
        return tuple(name for name in available if name not in drops)
    start: Sequence[str] = () if ALL in drops else [name for name in DEFAULT if name not in drops]
    return tuple(dict.fromkeys([*start, *adds]))
