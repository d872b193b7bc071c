"""The OCI runtime document (config.json, runtime-spec 1.0 to 1.2).

A spec stays the plain document it is: this module names what this engine refuses in one. Its shape is
:mod:`corten.oci.schema`. It does no I/O and knows no kernel.
"""

from __future__ import annotations

from corten.errors import InvalidArgument, NotSupported
from corten.oci import schema
from corten.oci.document import decode as decode
from corten.oci.document import encode as encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

VERSION: Final = "1.2.0"

NAMESPACES: Final = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
_CLOCKS: Final = ("monotonic", "boottime")
# Kernel parameters that belong to an IPC namespace; those below fs.mqueue. do as well (ipc_namespaces(7)).
_IPC_SYSCTLS: Final = frozenset({
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
    "kernel.shmmni", "kernel.shm_rmid_forced",
})  # fmt: skip
_SCHEDULERS: Final = ("SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_IDLE", "SCHED_DEADLINE")
_SCHEDULER_FLAGS: Final = tuple(
    f"SCHED_FLAG_{name}"
    for name in (
        "RESET_ON_FORK", "RECLAIM", "DL_OVERRUN", "KEEP_POLICY", "KEEP_PARAMS", "UTIL_CLAMP_MIN", "UTIL_CLAMP_MAX",
    )
)  # fmt: skip
_IO_CLASSES: Final = ("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE")
_MAX_CPU: Final = 1 << 16
#: Limits that are put in force nowhere; ``memory.useHierarchy`` is what every kernel since 5.11 does.
_UNENFORCED: Final = {
    "memory": ("kernel", "kernelTCP", "checkBeforeUpdate"),
    "network": ("classID", "priorities"),
    "blockIO": ("leafWeight",),
}


def namespaces(spec: dict[str, Any]) -> dict[str, str]:
    """``linux.namespaces`` as type -> path ("" for a new one). A type named twice is an error."""
    found: dict[str, str] = {}
    for entry in (spec.get("linux") or {}).get("namespaces") or []:
        kind = entry.get("type")
        if kind not in NAMESPACES:
            raise InvalidArgument(f"linux.namespaces: unknown type {kind!r}")
        if kind in found:
            raise InvalidArgument(f"linux.namespaces: malformed spec file: duplicated ns {kind}")
        found[kind] = entry.get("path") or ""
    return found


def validate(spec: dict[str, Any]) -> None:
    """Refuse what is wrong, and what would otherwise be silently ignored, naming the member."""
    schema.check(spec, schema.CONFIG, "")
    kinds = namespaces(spec)
    linux = spec.get("linux") or {}
    _check_version(spec.get("ociVersion"))
    for field in ("vm", "windows", "solaris", "zos", "freebsd"):
        if spec.get(field):
            raise NotSupported(f"{field} is not supported: containers here are linux containers")
    _check_user(kinds, linux)
    _check_linux(linux, kinds)
    _check_names(spec, kinds)
    _check_sysctls(spec, linux.get("sysctl") or {}, kinds)
    _check_hooks(spec.get("hooks") or {})
    if process := spec.get("process"):
        validate_process(process)


def _check_version(version: str | None) -> None:
    if version is None:
        return
    major, _, rest = version.partition(".")
    if not major.isdecimal() or not rest.partition(".")[0].isdecimal():
        raise InvalidArgument(f"ociVersion {version!r} must be a semantic version")
    if int(major) != 1:
        raise NotSupported(f"ociVersion {version!r} is not supported: this runtime follows 1.0.0 to {VERSION}")


def _check_resources(resources: dict[str, Any], path: str) -> None:
    """Refuse limits that would not be put in force; zero, negative and empty ask for none."""
    for section, keys in _UNENFORCED.items():
        for key in keys:
            value = (resources.get(section) or {}).get(key)
            if value and (not isinstance(value, int) or value > 0):
                raise NotSupported(f"{path}.{section}.{key} is not supported: leave it out")
    for index, device in enumerate((resources.get("blockIO") or {}).get("weightDevice") or ()):
        if device.get("leafWeight"):
            raise NotSupported(f"{path}.blockIO.weightDevice[{index}].leafWeight is not supported: leave it out")
    if resources.get("rdma"):
        raise NotSupported(f"{path}.rdma is not supported: leave it out")


def _check_linux(linux: dict[str, Any], kinds: dict[str, str]) -> None:
    for field in ("intelRdt", "netDevices"):
        if linux.get(field) is not None:
            raise NotSupported(f"linux.{field} is not supported")
    if linux.get("mountLabel"):
        raise NotSupported("linux.mountLabel is not supported: SELinux is not driven yet")
    if "mount" not in kinds:
        raise NotSupported("linux.namespaces: a container without a mount namespace of its own is not supported")
    _check_resources(linux.get("resources") or {}, "linux.resources")
    _check_personality(linux.get("personality") or {})
    _check_time(linux.get("timeOffsets") or {}, kinds)
    for field in ("maskedPaths", "readonlyPaths"):
        for index, path in enumerate(linux.get(field) or ()):
            if not path.startswith("/"):
                raise InvalidArgument(f"linux.{field}[{index}]: {path!r} must be an absolute path")


def _check_personality(personality: dict[str, Any]) -> None:
    if personality and personality["domain"] not in ("LINUX", "LINUX32"):
        raise InvalidArgument(f"linux.personality.domain: unknown domain {personality['domain']!r}")
    if personality.get("flags"):
        raise NotSupported("linux.personality.flags: no flag is supported")


def _check_time(offsets: dict[str, Any], kinds: dict[str, str]) -> None:
    if offsets and kinds.get("time") != "":
        raise InvalidArgument("linux.timeOffsets: a new time namespace is needed to set them")
    for clock, offset in offsets.items():
        if clock not in _CLOCKS:
            raise InvalidArgument(f"linux.timeOffsets: unknown clock {clock!r}")
        if (offset.get("nanosecs") or 0) >= 1_000_000_000:
            raise InvalidArgument(f"linux.timeOffsets.{clock}.nanosecs must be below 1000000000")


def _check_names(spec: dict[str, Any], kinds: dict[str, str]) -> None:
    for field in ("hostname", "domainname"):
        if spec.get(field) and "uts" not in kinds:
            raise InvalidArgument(f"{field}: unable to set {field} without a private UTS namespace")


def sysctl_path(key: str) -> str:
    """The parameter's file below /proc/sys: sysctl(8) writes ``net.ipv4.conf.eth0/1.forwarding`` for a name that has
    a dot itself, or ``net/ipv4/conf/eth0.1/forwarding``, and whichever comes first separates.
    """
    dot, slash = key.find("."), key.find("/")
    if slash >= 0 and (dot < 0 or slash < dot):
        return key
    return key.translate({ord("."): "/", ord("/"): "."})


def _check_sysctls(spec: dict[str, Any], settings: dict[str, str], kinds: dict[str, str]) -> None:
    """A parameter of no namespace of the container's own would change the host."""
    for key in settings:
        parts = sysctl_path(key).split("/")
        name = ".".join(parts)
        if {"", ".", ".."}.intersection(parts):
            raise InvalidArgument(f"linux.sysctl: {key!r} is no kernel parameter")
        if name in _IPC_SYSCTLS or name.startswith("fs.mqueue."):
            if "ipc" not in kinds:
                raise InvalidArgument(f'linux.sysctl: sysctl "{key}" is not allowed in the hosts ipc namespace')
        elif name.startswith("net."):
            if "network" not in kinds:
                raise InvalidArgument(f'linux.sysctl: sysctl "{key}" not allowed in host network namespace')
        elif name in ("kernel.domainname", "kernel.hostname"):
            if spec.get(name[7:]) or "uts" not in kinds:
                text = f"conflicts with the OCI {name[7:]} field" if "uts" in kinds else "needs a uts namespace"
                raise InvalidArgument(f'linux.sysctl: sysctl "{key}" is not allowed as it {text}')
        else:
            raise InvalidArgument(f'linux.sysctl: sysctl "{key}" is not in a separate kernel namespace')


def _check_hooks(hooks: dict[str, Any]) -> None:
    for kind in schema.HOOKS:
        for index, hook in enumerate(hooks.get(kind) or ()):
            where = f"hooks.{kind}[{index}]"
            if not hook["path"].startswith("/"):
                raise InvalidArgument(f"{where}.path: {hook['path']!r} must be an absolute path")
            if hook.get("timeout") is not None and hook["timeout"] <= 0:
                raise InvalidArgument(f"{where}.timeout must be greater than zero")


def _check_user(kinds: dict[str, str], linux: dict[str, Any]) -> None:
    uids, gids = linux.get("uidMappings"), linux.get("gidMappings")
    if "user" not in kinds:
        if uids or gids:
            raise InvalidArgument("linux.uidMappings: mappings need a namespace of type user in linux.namespaces")
        return
    if kinds.get("mount"):
        raise NotSupported("linux.namespaces: a mount namespace by path together with a user namespace")
    if uids or gids or not kinds["user"]:
        from corten.oci import idmap  # few containers have one

        maps = idmap.parse(uids, gids, "linux")
        maps.uid(0)  # the runtime works as root of the namespace
        maps.gid(0)


def validate_process(process: dict[str, Any]) -> None:
    """The same for an OCI process object, also that of an exec."""
    schema.check(process, schema.PROCESS, "process")
    if not process.get("args"):
        raise InvalidArgument("process.args: args must not be empty")
    if not (process.get("cwd") or "").startswith("/"):
        raise InvalidArgument("process.cwd: Cwd must be an absolute path")
    if process.get("selinuxLabel"):
        raise NotSupported("process.selinuxLabel is not supported: SELinux is not driven yet")
    if process.get("commandLine"):
        raise NotSupported("process.commandLine is not supported: containers here are linux containers")
    seen = set()
    for index, entry in enumerate(process.get("rlimits") or ()):
        if entry["type"] in seen:
            raise InvalidArgument(f"process.rlimits[{index}]: {entry['type']} is there twice")
        seen.add(entry["type"])
    _check_scheduling(process)


def _check_scheduling(process: dict[str, Any]) -> None:
    if scheduler := process.get("scheduler"):
        if scheduler["policy"] not in _SCHEDULERS:
            raise InvalidArgument(f"process.scheduler.policy: unknown policy {scheduler['policy']!r}")
        for flag in scheduler.get("flags") or ():
            if flag not in _SCHEDULER_FLAGS:
                raise InvalidArgument(f"process.scheduler.flags: unknown flag {flag!r}")
    if priority := process.get("ioPriority"):
        if priority["class"] not in _IO_CLASSES:
            raise InvalidArgument(f"process.ioPriority.class: unknown class {priority['class']!r}")
        if not 0 <= (priority.get("priority") or 0) <= 7:
            raise InvalidArgument("process.ioPriority.priority must be from 0 to 7")
    for field, text in (process.get("execCPUAffinity") or {}).items():
        if field in ("initial", "final"):
            cpus(text, f"process.execCPUAffinity.{field}")


def cpus(text: str, path: str) -> set[int]:
    """``0-3,7`` as numbers; empty for ""."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and len(last) <= 5 and int(first) <= int(last) < _MAX_CPU):
            raise InvalidArgument(f"{path}: {text!r} is no list of CPUs such as 0-3,7")
        found.update(range(int(first), int(last) + 1))
    return found


def validate_resources(resources: dict[str, Any]) -> None:
    """An OCI ``linux.resources`` document that comes alone, as ``update`` reads it."""
    schema.check(resources, schema.RESOURCES, "resources")
    _check_resources(resources, "resources")
