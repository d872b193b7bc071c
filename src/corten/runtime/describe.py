"""corten-runtime features and spec: what this runtime can do, and a config.json to start from."""

from __future__ import annotations

import os

from corten.errors import Conflict
from corten.linux.capability import BITS
from corten.linux.seccomp import ACTIONS, FLAGS, OPERATORS
from corten.oci.runtime import VERSION, encode
from corten.oci.schema import HOOKS
from corten.runtime import options
from corten.runtime.request import NAMESPACE_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MASKED: Final = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
)  # fmt: skip
_READONLY: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_CAPABILITIES: Final = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")


def features() -> dict[str, Any]:
    """The document of runtime-spec 1.1, features.md."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": VERSION,
        "hooks": list(HOOKS),
        "mountOptions": options.names(),
        "linux": {
            "namespaces": sorted(NAMESPACE_FLAGS),
            "capabilities": list(BITS),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": False, "rdma": False},
            "seccomp": {
                "enabled": True,
                "actions": list(ACTIONS),
                "operators": list(OPERATORS),
                "knownFlags": list(FLAGS),
                "supportedFlags": list(FLAGS),
                "archs": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"],
            },
            "apparmor": {"enabled": False},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
    }  # fmt: skip


def write_spec(directory: str) -> None:
    """config.json in ``directory``; Conflict when there is one."""
    path = f"{directory or '.'}/config.json"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise Conflict("File config.json exists. Remove it first") from None
    try:
        os.write(fd, (encode(template()) + "\n").encode())
    finally:
        os.close(fd)


def template() -> dict[str, Any]:
    """A container that runs ``sh`` on a terminal with a read-only root, as runc's template does."""
    capabilities = list(_CAPABILITIES)
    return {
        "ociVersion": VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [_PATH, "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "corten",
        "mounts": _mounts(),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READONLY),
        },
    }


def _mounts() -> list[dict[str, Any]]:
    plain = ["nosuid", "noexec", "nodev"]
    rows: tuple[tuple[str, str, str, list[str]], ...] = (
        ("/proc", "proc", "proc", []),
        ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        ("/dev/shm", "tmpfs", "shm", [*plain, "mode=1777", "size=65536k"]),
        ("/dev/mqueue", "mqueue", "mqueue", plain),
        ("/sys", "sysfs", "sysfs", [*plain, "ro"]),
        ("/sys/fs/cgroup", "cgroup", "cgroup", [*plain, "relatime", "ro"]),
    )
    return [{"destination": to, "type": kind, "source": source, "options": words} for to, kind, source, words in rows]
