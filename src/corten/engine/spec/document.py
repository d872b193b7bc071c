"""A container's OCI ``config.json`` document; pure.

Everything that needs the host (whether a path exists, device numbers, another container's pid) is in :class:`Facts`.
The fixed parts are shared data (:mod:`corten.engine.spec.defaults`), so that a start composes little.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from corten.api.types.container import ContainerConfig, HostConfig
from corten.engine.config import EngineConfig
from corten.engine.mounts import DEFAULT_PROPAGATION, MountPoint, tmpfs_options
from corten.engine.record import IdMap
from corten.engine.spec import defaults
from corten.engine.spec.process import first_process
from corten.engine.spec.resources import DeviceNumber, linux_resources
from corten.engine.spec.security import parse_security
from corten.oci import idmap

_TMPFS_DEFAULTS: Final = ("noexec", "nosuid", "nodev")
JOIN: Final = "container:"
#: The role of the user namespace's descriptor.
USERNS: Final = "userns"
_MANAGED_FILES: Final = ("/etc/resolv.conf", "/etc/hostname", "/etc/hosts")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the host contributes.

    ``devices`` are OCI ``linux.devices`` entries and ``device_rules`` the cgroup rules that go with them,
    ``block_devices`` the numbers of those with limits; ``files``
    are host paths for ``/etc/{resolv.conf,hostname,hosts}``; ``shm_path`` is the host's path of a shared /dev/shm;
    ``linked_environment`` are the variables of --link; ``id_map`` are the maps of its user namespace, None for the
    host's.
    """

    cgroup_path: str
    private_cgroup_namespace: bool
    files: dict[str, str] = {}
    devices: Sequence[dict[str, Any]] = ()
    device_rules: Sequence[dict[str, Any]] = ()
    block_devices: Mapping[str, DeviceNumber] = {}
    network: str = "private"
    recursive_read_only: bool = True
    shm_path: str = ""
    linked_environment: Sequence[str] = ()
    id_map: IdMap | None = None


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The container's part of the document."""

    args: Sequence[str]
    config: ContainerConfig
    host: HostConfig
    mounts: Sequence[MountPoint]


def build(identity: Identity, facts: Facts, engine: EngineConfig) -> dict[str, Any]:
    """The document, in the shape runtime-spec 1.2 gives it; ``root.path`` is empty because the root is mounted by
    the child.
    """
    config, host = identity.config, identity.host
    hostname = config.Hostname
    document: dict[str, Any] = {
        "ociVersion": "1.2.0",
        "process": first_process(config, host, identity.args, facts.linked_environment, engine),
        "root": {"path": "", "readonly": host.ReadonlyRootfs},
        "mounts": mounts(identity.mounts, host, facts, engine),
        "linux": _linux(identity, facts),
    }
    if host.UTSMode != "host":
        document["hostname"] = hostname
        if config.Domainname:
            document["domainname"] = config.Domainname
    if host.Annotations:
        document["annotations"] = host.Annotations
    return document


def root_propagation(points: Sequence[MountPoint]) -> str:
    """What the mount namespace must be for the binds that exchange mounts with the host."""
    kinds = {point.propagation.removeprefix("r") for point in points}
    return "shared" if "shared" in kinds else "rslave" if "slave" in kinds else DEFAULT_PROPAGATION


def _linux(identity: Identity, facts: Facts) -> dict[str, Any]:
    host = identity.host
    linux: dict[str, Any] = {
        "namespaces": namespaces(host, facts),
        "resources": linux_resources(host, facts.device_rules, facts.block_devices),
        "cgroupsPath": facts.cgroup_path,
        "devices": list(facts.devices),
        "sysctl": sysctls(host, facts),
        "rootfsPropagation": root_propagation(identity.mounts),
    }
    if facts.id_map is not None:
        linux["uidMappings"], linux["gidMappings"] = map(idmap.document, (facts.id_map.uids, facts.id_map.gids))
    if not host.Privileged:
        masked, readonly = host.MaskedPaths, host.ReadonlyPaths
        linux["maskedPaths"] = list(defaults.MASKED_PATHS if masked is None else masked)
        linux["readonlyPaths"] = list(defaults.READONLY_PATHS if readonly is None else readonly)
    return linux


def namespaces(host: HostConfig, facts: Facts) -> list[dict[str, str]]:
    """OCI ``linux.namespaces``; those of other containers and a prepared network are handed over as descriptors
    (:mod:`corten.shim.protocol`), not as paths.
    """
    wanted = [{"type": "mount"}]
    if facts.network != "host":
        wanted.append({"type": "network"})
    if host.UTSMode != "host":
        wanted.append({"type": "uts"})
    for kind, mode in (("pid", host.PidMode), ("ipc", host.IpcMode)):
        if mode.startswith(JOIN):
            wanted.append({"type": kind, "path": f"fd:{kind}"})
        elif mode != "host":
            wanted.append({"type": kind})
    if facts.private_cgroup_namespace:
        wanted.append({"type": "cgroup"})
    if facts.id_map is not None:
        wanted.append({"type": "user", "path": f"fd:{USERNS}"})
    return wanted


def sysctls(host: HostConfig, facts: Facts) -> dict[str, str]:
    """Docker's two (since 20.10: ports below 1024 and ping need no capability) and the container's own."""
    values: dict[str, str] = {}
    if facts.network == "private":
        values["net.ipv4.ip_unprivileged_port_start"] = "0"
        values["net.ipv4.ping_group_range"] = "0 2147483647"
    values.update(host.Sysctls or {})
    return values


def mounts(points: Sequence[MountPoint], host: HostConfig, facts: Facts, engine: EngineConfig) -> list[dict[str, Any]]:
    """OCI ``mounts``: the default ones a user mount does not replace, the three managed files, then the user's,
    parents first.
    """
    chosen = {point.destination for point in points}
    result = [
        mount
        for mount in _default_mounts(host, facts, engine)
        if mount["destination"] not in chosen and not _under_dev(mount, chosen)
    ]
    own = [_user_mount(point, facts) for point in points]
    own += [_tmpfs_mount(path, text) for path, text in (host.Tmpfs or {}).items()]
    for path in _MANAGED_FILES:
        source = facts.files.get(path)
        if source and path not in chosen:
            own.append(_bound_file(path, source, facts))
            if host.ReadonlyRootfs:
                own[-1]["options"].append("ro")
    own.sort(key=lambda mount: str(mount["destination"]).rstrip("/").count("/"))
    return result + own


def view_mounts(
    points: Sequence[MountPoint], files: dict[str, str], id_map: IdMap | None = None
) -> list[dict[str, Any]]:
    """OCI ``mounts`` of a view from outside: binds and volumes, private, and the managed files; no tmpfs.

    ``id_map`` as in :class:`Facts`, of a container that runs.
    """
    facts = Facts(cgroup_path="", private_cgroup_namespace=False, id_map=id_map)
    chosen = {point.destination for point in points}
    own = [
        _user_mount(
            msgspec.structs.replace(point, propagation=DEFAULT_PROPAGATION),
            facts,
        )
        for point in points
        if point.type != "tmpfs"
    ]
    own += [_bound_file(path, source, facts) for path, source in files.items() if path not in chosen]
    return sorted(own, key=lambda mount: str(mount["destination"]).rstrip("/").count("/"))


def _bound_file(path: str, source: str, facts: Facts) -> dict[str, Any]:
    options = ["rbind", DEFAULT_PROPAGATION, *(["idmap"] if facts.id_map is not None else [])]
    return {"destination": path, "type": "bind", "source": source, "options": options}


def _under_dev(mount: dict[str, Any], chosen: set[str]) -> bool:
    return "/dev" in chosen and str(mount["destination"]).startswith("/dev/")


def _default_mounts(host: HostConfig, facts: Facts, engine: EngineConfig) -> list[dict[str, Any]]:
    shm = host.ShmSize or engine.default_shm_size
    result = [defaults.PROC, defaults.DEV, _terminals(facts.id_map)]
    result.append(_writable(defaults.SYS) if host.Privileged else defaults.SYS)
    wanted = parse_security(host.SecurityOpt or (), no_new_privileges=False).writable_cgroups
    result.append(_writable(defaults.CGROUP) if wanted or (host.Privileged and wanted is None) else defaults.CGROUP)
    shared = "/dev/shm" if host.IpcMode == "host" else facts.shm_path
    if shared:
        options = ["rbind", DEFAULT_PROPAGATION]
        bound = {"destination": "/dev/shm", "type": "bind", "source": shared, "options": options}
        return [*result, defaults.MQUEUE, bound]
    result.append(defaults.MQUEUE)
    if host.IpcMode != "none":
        options = ["nosuid", "noexec", "nodev", "mode=1777", f"size={shm}"]
        result.append({"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": options})
    return result


def _terminals(id_map: IdMap | None) -> dict[str, Any]:
    """devpts for the group tty, unless a small user namespace has no such group."""
    group = 5
    if id_map is None or any(first <= group < first + count for first, _, count in id_map.gids):
        return defaults.DEVPTS
    options = [option for option in defaults.DEVPTS["options"] if option != f"gid={group}"]
    return {**defaults.DEVPTS, "options": options}


def _writable(mount: dict[str, Any]) -> dict[str, Any]:
    return {**mount, "options": [option for option in mount["options"] if option != "ro"]}


def _user_mount(point: MountPoint, facts: Facts) -> dict[str, Any]:
    if point.type == "tmpfs":
        options = tmpfs_options(_TMPFS_DEFAULTS, point.options)
        return {"destination": point.destination, "type": "tmpfs", "source": "tmpfs", "options": options}
    if point.filesystem is not None:
        kind, source = point.filesystem
        return {"destination": point.destination, "type": kind, "source": source, "options": list(point.options)}
    options = ["rbind" if point.recursive else "bind"]
    if point.read_only:
        recursive = point.recursive and not point.read_only_top and facts.recursive_read_only
        options.append("rro" if recursive else "ro")
    if facts.id_map is not None and point.type == "volume":  # the engine keeps it, with the container's ids
        options.append("idmap")
    options.append(point.propagation or DEFAULT_PROPAGATION)
    mount: dict[str, Any] = {
        "destination": point.destination, "type": "bind", "source": point.source, "options": options,
    }  # fmt: skip
    if point.layers:
        mount["corten.layers"] = list(point.layers)
    if point.subpath:  # containers write to a volume: the part is found, safely, at the moment it is mounted
        mount["corten.subpath"] = point.subpath
    return mount


def _tmpfs_mount(path: str, text: str) -> dict[str, Any]:
    options = tmpfs_options(_TMPFS_DEFAULTS, text.split(",") if text else ())
    return {"destination": path, "type": "tmpfs", "source": "tmpfs", "options": options}
