"""What this host gives an engine: facts read from the kernel, and nothing of what is made of them.

Used by ``info`` (warnings) and by ``corten doctor``. Every probe is read-only, bounded and safe to run beside a working
engine; a probe that needs privileges the caller lacks answers ``None``, which means "not known", never "no".
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import socket
import struct
from ctypes.util import find_library
from pathlib import Path
from typing import Final

import msgspec

from corten.engine.spec.security import Modules

CGROUP_ROOT: Final = "/sys/fs/cgroup"
WANTED_CONTROLLERS: Final = ("cpu", "cpuset", "memory", "pids")
NAMESPACES: Final = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
CAP_SYS_RESOURCE: Final = 24  # capabilities(7)
OLDEST_KERNEL: Final = (5, 10)


class Cgroups(msgspec.Struct, frozen=True):
    """``version`` is "2", "1" or "hybrid" (v1 controllers with an empty v2 tree), "" where no cgroup is mounted."""

    version: str
    controllers: frozenset[str]


class Host(msgspec.Struct, frozen=True):
    """One reading of the host. Sizes are bytes; limits are (soft, hard) with -1 for unlimited; None is "not known"."""

    kernel: str
    architecture: str
    root: bool
    systemd: bool
    cgroups: Cgroups
    namespaces: frozenset[str]
    max_user_namespaces: int | None
    overlayfs: bool
    fuse: bool
    bridge: bool | None
    nftables: bool
    seccomp: bool
    libseccomp: bool
    libnftables: bool
    apparmor: bool
    selinux: bool
    sys_resource: bool
    open_files: tuple[int, int]
    processes: tuple[int, int]
    ip_forward: bool | None
    disk_total: int
    disk_free: int


def read(data_root: str) -> Host:
    """Read everything; ``data_root`` (or its nearest existing parent) tells which disk is meant."""
    disk = shutil.disk_usage(_existing(data_root))
    filesystems = _words("/proc/filesystems")
    return Host(
        kernel=os.uname().release,
        architecture=os.uname().machine,
        root=os.geteuid() == 0,
        systemd=os.path.isdir("/run/systemd/system"),
        cgroups=cgroups(),
        namespaces=frozenset(name for name in NAMESPACES if os.path.exists(f"/proc/self/ns/{name}")),
        max_user_namespaces=_number("/proc/sys/user/max_user_namespaces"),
        overlayfs="overlay" in filesystems or _module("overlay"),
        fuse=os.path.exists("/dev/fuse"),
        bridge=True if os.path.exists("/sys/module/bridge") else (_module("bridge") or None),
        nftables=_nftables(),
        seccomp="errno" in _words("/proc/sys/kernel/seccomp/actions_avail"),
        libseccomp=find_library("seccomp") is not None or _loads("libseccomp.so.2"),
        libnftables=find_library("nftables") is not None or _loads("libnftables.so.1"),
        apparmor=security_modules().apparmor,
        selinux=security_modules().selinux,
        sys_resource=bool(_capabilities() >> CAP_SYS_RESOURCE & 1),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE),
        processes=resource.getrlimit(resource.RLIMIT_NPROC),
        ip_forward=None if (value := _number("/proc/sys/net/ipv4/ip_forward")) is None else value == 1,
        disk_total=disk.total,
        disk_free=disk.free,
    )


def security_modules() -> Modules:
    """Which security modules are in force."""
    return Modules(
        apparmor=_text("/sys/module/apparmor/parameters/enabled").strip() == "Y",
        selinux=os.path.exists("/sys/fs/selinux/enforce"),
    )


def mount_of(path: str) -> tuple[str, frozenset[str]]:
    """The mount point that holds ``path`` and its propagation (``shared``, ``master``): proc_pid_mountinfo(5)."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        real = os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    found, kinds = "/", frozenset[str]()
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            words = line.partition(" - ")[0].split(" ")
            point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), words[4])
            if (real + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(found):
                found, kinds = point, frozenset(word.partition(":")[0] for word in words[6:])
    return found, kinds


def kernel_version(release: str) -> tuple[int, int]:
    """``6.1.0-18-amd64`` -> (6, 1); (0, 0) for a release that does not begin with two numbers."""
    major, _, rest = release.partition(".")
    minor = rest.partition(".")[0].partition("-")[0]
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)


def cgroups(root: str = CGROUP_ROOT) -> Cgroups:
    """Which cgroup version is in force and which controllers it offers: cgroups(7)."""
    if os.path.exists(f"{root}/cgroup.controllers"):
        return Cgroups("2", frozenset(_words(f"{root}/cgroup.controllers")))
    mounted: set[str] = set()
    hybrid = False
    for line in _text("/proc/self/mountinfo").splitlines():
        _, _, tail = line.partition(" - ")
        kind, _, options = tail.partition(" ")
        if kind == "cgroup":
            mounted.update(options.rsplit(" ", 1)[-1].split(","))
        hybrid = hybrid or kind == "cgroup2"
    controllers = frozenset(name for name in mounted if name not in ("rw", "ro") and "=" not in name)
    if not controllers:
        return Cgroups("", controllers)
    return Cgroups("hybrid" if hybrid else "1", controllers)


def _existing(path: str) -> str:
    current = Path(path)
    while not current.exists() and current != current.parent:
        current = current.parent
    return str(current)


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""


def _words(path: str) -> list[str]:
    return _text(path).split()


def _number(path: str) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _module(name: str) -> bool:
    """Whether the kernel has ``name`` built in, loaded or loadable (modules.builtin, modules.dep)."""
    if os.path.exists(f"/sys/module/{name}"):
        return True
    folder = f"/lib/modules/{os.uname().release}"
    return any(f"/{name}.ko" in _text(f"{folder}/{index}") for index in ("modules.builtin", "modules.dep"))


def _nftables() -> bool:
    """Whether the kernel answers nf_tables requests: asks for the ruleset's generation, NFT_MSG_GETGEN (16)."""
    family, request, subsystem = 12, 1, 10  # NETLINK_NETFILTER, NLM_F_REQUEST, NFNL_SUBSYS_NFTABLES
    message = struct.pack("=IHHIIBBH", 20, subsystem << 8 | 16, request, 1, 0, 0, 0, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family) as channel:
            channel.settimeout(1)
            channel.send(message)
            kind: int = struct.unpack_from("=IH", channel.recv(4096))[1]
    except OSError:
        return False
    return kind != 2  # NLMSG_ERROR


def _loads(library: str) -> bool:
    """Whether the dynamic loader finds ``library`` although no compiler tool chain is there to ask."""
    return any(os.path.exists(f"{folder}/{library}") for folder in ("/usr/lib", "/usr/lib64", "/lib", *_multiarch()))


def _multiarch() -> list[str]:
    machine = os.uname().machine
    return [f"/usr/lib/{machine}-linux-gnu", f"/lib/{machine}-linux-gnu"]


def _capabilities() -> int:
    """The caller's effective capabilities as a bit set: proc_pid_status(5), CapEff."""
    for line in _text("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
