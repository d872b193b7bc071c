"""Container Device Interface: specs of the administrator, and what their devices add to a container.

    /etc/cdi, /var/run/cdi, or what --cdi-spec-dir names; *.json, one kind (``vendor.com/class``) each

Only a request for devices selects one, by its full name, out of what these files declare: nothing of an image (no
variable, label or annotation) is ever looked at (CVE-2026-53492 and its kind). Host paths in a spec are the
administrator's. A later directory wins over an earlier one; within one, a name that two files declare is nobody's.

Refuses to know how requests arrive (:mod:`corten.engine.accelerators`).
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from corten.errors import InvalidArgument, NotSupported

DIRECTORIES: Final = ("/etc/cdi", "/var/run/cdi")
HOOKS: Final = frozenset({"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"})
_FAILED: Final = "CDI device injection failed"
_LARGEST: Final = 16 << 20
#: Versions there are, and the one that a member of a spec needs: SPEC.md, "Released versions".
_VERSIONS: Final = ("0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
_WORD: Final = re.compile(r"[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?\Z")
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?\Z")


class DeviceNode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A device; what is left out is read from ``hostPath``, or from ``path`` on the host."""

    path: str
    host_path: str = ""
    type: str = ""
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    permissions: str = "rwm"
    uid: int | None = None
    gid: int | None = None


class Mount(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A mount of a host path."""

    host_path: str
    container_path: str
    options: tuple[str, ...] = ()
    type: str = ""


class Hook(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """An OCI hook."""

    hook_name: str
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


class Edits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """``containerEdits``."""

    env: tuple[str, ...] = ()
    device_nodes: tuple[DeviceNode, ...] = ()
    net_devices: tuple[dict[str, Any], ...] = ()
    hooks: tuple[Hook, ...] = ()
    mounts: tuple[Mount, ...] = ()
    intel_rdt: dict[str, Any] | None = None
    additional_gids: tuple[int, ...] = ()


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One of ``devices``."""

    name: str
    container_edits: Edits
    annotations: dict[str, str] = {}


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One file."""

    cdi_version: str
    kind: str
    devices: tuple[Device, ...]
    annotations: dict[str, str] = {}
    container_edits: Edits = Edits()


class Found(msgspec.Struct, frozen=True):
    """A device, the spec it is of, and where that was read."""

    device: Device
    spec: Spec
    path: str


class Registry(msgspec.Struct, frozen=True):
    """Devices by full name, and what could not be used, as sentences."""

    devices: dict[str, Found]
    problems: tuple[str, ...] = ()

    def edits(self, names: Sequence[str]) -> list[Edits]:
        """Those of the devices' specs, each once, and of the devices, in Docker's order.

        Raises:
            InvalidArgument: ``CDI device injection failed: unresolvable CDI devices ...``
        """
        missing = [name for name in names if name not in self.devices]
        if missing:
            reasons = "".join(f"; {problem}" for problem in self.problems)
            raise InvalidArgument(f"{_FAILED}: unresolvable CDI devices {', '.join(missing)}{reasons}")
        chosen: list[Edits] = []
        specs: set[str] = set()
        for name in names:
            found = self.devices[name]
            if found.path not in specs:
                specs.add(found.path)
                chosen.append(found.spec.container_edits)
            chosen.append(found.device.container_edits)
        return chosen


def parse(raw: bytes) -> Spec:
    """One file's content.

    Raises:
        InvalidArgument: it is no valid spec; the text names the member.
    """
    try:
        spec = msgspec.json.decode(raw, type=Spec)
    except msgspec.MsgspecError as exc:
        raise InvalidArgument(str(exc)) from exc
    if spec.cdi_version not in _VERSIONS:
        raise InvalidArgument(f'invalid version "{spec.cdi_version}": this engine knows {", ".join(_VERSIONS)}')
    needed = _needed_version(spec)
    if _VERSIONS.index(spec.cdi_version) < _VERSIONS.index(needed):
        raise InvalidArgument(f"the spec version must be at least v{needed}")
    vendor, slash, family = spec.kind.partition("/")
    if not slash or not _WORD.match(vendor) or not _WORD.match(family):
        raise InvalidArgument(f'invalid kind "{spec.kind}": it must be vendor.com/class')
    if not spec.devices:
        raise InvalidArgument("invalid spec, no devices")
    names = [device.name for device in spec.devices]
    for name in names:
        if not _NAME.match(name):
            raise InvalidArgument(f'invalid device name "{name}"')
        if names.count(name) > 1:
            raise InvalidArgument(f'invalid spec, multiple device "{name}"')
    for edits in _all_edits(spec):
        _check(edits)
    return spec


def _all_edits(spec: Spec) -> Iterator[Edits]:
    yield spec.container_edits
    for device in spec.devices:
        yield device.container_edits


def _needed_version(spec: Spec) -> str:
    every = list(_all_edits(spec))
    if any(edits.net_devices for edits in every):
        return "1.1.0"
    if any(edits.intel_rdt or edits.additional_gids for edits in every):
        return "0.7.0"
    if spec.annotations or any(device.annotations for device in spec.devices) or "." in spec.kind.partition("/")[2]:
        return "0.6.0"
    hosted = any(node.host_path for edits in every for node in edits.device_nodes)
    if hosted or any(not device.name[:1].isalpha() for device in spec.devices):
        return "0.5.0"
    return "0.4.0" if any(mount.type for edits in every for mount in edits.mounts) else "0.3.0"


def _check(edits: Edits) -> None:
    for entry in edits.env:
        if not entry.partition("=")[1] or entry.startswith("="):
            raise InvalidArgument(f'invalid environment variable "{entry}"')
    for node in edits.device_nodes:
        if not node.path.startswith("/"):
            raise InvalidArgument(f'invalid device node, path "{node.path}" is not absolute')
        if node.type not in ("", "b", "c", "u", "p"):
            raise InvalidArgument(f'device "{node.path}": invalid type "{node.type}"')
        if not set(node.permissions) <= set("rwm"):
            raise InvalidArgument(f'device "{node.path}": invalid permissions "{node.permissions}"')
    for hook in edits.hooks:
        if hook.hook_name not in HOOKS:
            raise InvalidArgument(f'invalid hook name "{hook.hook_name}"')
        if not hook.path.startswith("/"):
            raise InvalidArgument(f'invalid hook "{hook.hook_name}", path "{hook.path}" is not absolute')
    for mount in edits.mounts:
        if not mount.host_path or not mount.container_path.startswith("/"):
            raise InvalidArgument("invalid mount, it needs a host path and an absolute container path")


def scan(directories: Iterable[str]) -> Registry:
    """Read every spec there is; blocks."""
    devices: dict[str, Found] = {}
    problems: list[str] = []
    for directory in directories:
        here: dict[str, Found] = {}
        conflicting: set[str] = set()
        for path in _files(directory, problems):
            try:
                spec = parse(_read(path))
            except (OSError, InvalidArgument) as exc:
                problems.append(f"CDI spec {path} was not used: {exc}")
                continue
            for device in spec.devices:
                name = f"{spec.kind}={device.name}"
                if name in here:
                    conflicting.add(name)
                    problems.append(f'conflicting device "{name}" (specs {here[name].path}, {path})')
                here[name] = Found(device, spec, path)
        devices.update(here)
        for name in conflicting:
            del devices[name]
    return Registry(devices, tuple(problems))


def _files(directory: str, problems: list[str]) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    problems.extend(
        f"CDI spec {directory}/{name} was not used: this engine reads JSON, convert it to .json"
        for name in names
        if name.endswith((".yaml", ".yml"))
    )
    return [f"{directory}/{name}" for name in names if name.endswith(".json")]


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        raw = file.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        raise InvalidArgument(f"it is larger than {_LARGEST >> 20} MB")
    return raw


def resolve(node: DeviceNode) -> DeviceNode:
    """``node`` with type and numbers as the host has them.

    Raises:
        InvalidArgument: the host has no such device, or one of another type.
    """
    if node.type == "p" or (node.type and (node.major or node.minor)):
        return node
    source = node.host_path or node.path
    try:
        info = os.stat(source)
    except OSError as exc:
        reason = os.strerror(exc.errno or 0).lower()
        raise InvalidArgument(
            f"CDI device injection failed: failed to stat CDI host device {source}: {reason}"
        ) from exc
    kind = "b" if stat.S_ISBLK(info.st_mode) else "c" if stat.S_ISCHR(info.st_mode) else ""
    kind = "p" if stat.S_ISFIFO(info.st_mode) else kind
    wanted = "c" if node.type == "u" else node.type
    if not kind or (wanted and wanted != kind):
        raise InvalidArgument(
            f"CDI device injection failed: CDI device {source} is not of type {wanted or 'b, c or p'}"
        )
    return msgspec.structs.replace(
        node,
        type=kind,
        major=os.major(info.st_rdev),
        minor=os.minor(info.st_rdev),
        file_mode=stat.S_IMODE(info.st_mode) if node.file_mode is None else node.file_mode,
    )


def apply(document: dict[str, Any], edits: Edits) -> None:
    """Edit an OCI document in place; device nodes must be resolved. Pure but for that.

    Raises:
        NotSupported: something this engine does not do.
    """
    for member, value in (("netDevices", edits.net_devices), ("intelRdt", edits.intel_rdt)):
        if value:
            raise NotSupported(f"{_FAILED}: {member} is not supported")
    process, linux = document["process"], document["linux"]
    names = {entry.partition("=")[0] for entry in edits.env}
    process["env"] = [*(entry for entry in process["env"] if entry.partition("=")[0] not in names), *edits.env]
    for node in edits.device_nodes:
        _add_node(linux, node)
    for mount in edits.mounts:
        options = list(mount.options) or ["rbind", "rprivate"]
        entry = {"destination": mount.container_path, "source": mount.host_path, "options": options}
        kept = [other for other in document["mounts"] if other["destination"] != mount.container_path]
        document["mounts"] = [*kept, {**entry, "type": mount.type or "bind"}]
    document["mounts"].sort(key=lambda one: str(one["destination"]).rstrip("/").count("/"))
    for hook in edits.hooks:
        made: dict[str, Any] = {"path": hook.path, "args": list(hook.args), "env": list(hook.env)}
        if hook.timeout is not None:
            made["timeout"] = hook.timeout
        document.setdefault("hooks", {}).setdefault(hook.hook_name, []).append(made)
    groups = [gid for gid in edits.additional_gids if gid]
    process["user"].setdefault("additionalGids", []).extend(groups)


def _add_node(linux: dict[str, Any], node: DeviceNode) -> None:
    made: dict[str, Any] = {"path": node.path, "type": node.type}
    if node.type != "p":
        made |= {"major": node.major, "minor": node.minor}
    owned = {"fileMode": node.file_mode, "uid": node.uid, "gid": node.gid}
    made |= {key: value for key, value in owned.items() if value is not None}
    linux["devices"] = [*(other for other in linux["devices"] if other["path"] != node.path), made]
    if node.type in ("b", "c"):
        rule = {"allow": True, "type": node.type, "major": node.major, "minor": node.minor}
        linux["resources"]["devices"].append({**rule, "access": node.permissions})
