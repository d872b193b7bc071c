"""What each API version changes in a body: one table for requests, one for responses; pure.

The engine speaks the newest version only. A request of an older client loses what its version did not have yet (Docker
ignores such members); a response to it gets the members its version still had. Source: moby's API version history and
its routers of 28.x.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from corten.api.types.container import ContainerCreate, HostConfig, Mount
from corten.api.types.exec import ExecCreate
from corten.api.version import MAXIMUM, ApiVersion
from corten.errors import InvalidArgument

Document = dict[str, Any]


class _Gate(NamedTuple):
    """``apply`` changes a document for versions in ``[since, below)``."""

    apply: Callable[[Document], None]
    since: ApiVersion = ApiVersion(1, 0)
    below: ApiVersion = ApiVersion(99, 0)

    def covers(self, version: ApiVersion) -> bool:
        return self.since <= version < self.below


def _v(minor: int) -> ApiVersion:
    return ApiVersion(1, minor)


def _drop(*names: str) -> Callable[[Document], None]:
    def apply(document: Document) -> None:
        for name in names:
            document.pop(name, None)

    return apply


def _set(**values: Any) -> Callable[[Document], None]:
    return lambda document: document.update(values)


#: Members of a container that Docker leaves out when they are empty (``omitempty`` of moby's api/types/container).
_OMITTED: Final[dict[str, frozenset[str]]] = {
    "Config": frozenset(
        {"ExposedPorts", "Healthcheck", "ArgsEscaped", "NetworkDisabled", "MacAddress", "StopSignal", "StopTimeout",
         "Shell"}
    ),
    "HostConfig": frozenset(
        {"Annotations", "StorageOpt", "Mounts", "Tmpfs", "Sysctls", "Init", "KernelMemory", "KernelMemoryTCP"}
    ),
}  # fmt: skip


_POINTERS: Final = frozenset({"Init", "StopTimeout"})


def _omit_empty(document: Document) -> None:
    for part, names in _OMITTED.items():
        members = document[part]
        for name in names:
            value = members.get(name)
            if value is None or (not value and name not in _POINTERS):
                members.pop(name, None)


def _endpoints(document: Document) -> dict[str, Document]:
    networks: dict[str, Document] = document["NetworkSettings"]["Networks"]
    return networks


def _each_endpoint(change: Callable[[Document], None]) -> Callable[[Document], None]:
    def apply(document: Document) -> None:
        for endpoint in _endpoints(document).values():
            change(endpoint)

    return apply


def _short_id_alias(document: Document) -> None:
    short = document["Id"][:12]
    for name, endpoint in _endpoints(document).items():
        if name in ("bridge", "host", "none"):
            continue
        aliases = endpoint["Aliases"] or []
        if short not in aliases:
            endpoint["Aliases"] = [*aliases, short]


def _no_annotations(document: Document) -> None:
    document["HostConfig"].pop("Annotations", None)


#: Members of a container that image inspect still showed before 1.50.
_LEGACY_CONFIG: Final[Document] = {
    "Hostname": "", "Domainname": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False,
    "Tty": False, "OpenStdin": False, "StdinOnce": False, "Image": "",
}  # fmt: skip


def _legacy_config(document: Document) -> None:
    for name in ("Config", "ContainerConfig"):
        if isinstance(document.get(name), dict):
            document[name] = {**_LEGACY_CONFIG, **document[name]}


def _expected_commits(document: Document) -> None:
    for name in ("ContainerdCommit", "RuncCommit", "InitCommit"):
        document[name] = {**document[name], "Expected": document[name]["ID"]}


def _no_other_artifacts(document: Document) -> None:
    """Layers that may not be distributed are no more since Docker 28; older clients still look for the lists."""
    lists: Document = {f"AllowNondistributableArtifacts{kind}": [] for kind in ("CIDRs", "Hostnames")}
    document["RegistryConfig"] = {**lists, **document["RegistryConfig"]}


def _none_tags(document: Document) -> None:
    document["RepoTags"] = document["RepoTags"] or ["<none>:<none>"]
    document["RepoDigests"] = document["RepoDigests"] or ["<none>@<none>"]


_RESPONSES: Final[dict[str, tuple[_Gate, ...]]] = {
    "container": (
        _Gate(_omit_empty),
        _Gate(_short_id_alias, below=_v(45)),
        _Gate(_each_endpoint(_drop("DNSNames")), below=_v(44)),
        _Gate(_each_endpoint(_drop("GwPriority")), below=_v(48)),
    ),
    "container row": (
        _Gate(_no_annotations, below=_v(46)),
        _Gate(_each_endpoint(_drop("DNSNames")), below=_v(44)),
        _Gate(_each_endpoint(_drop("GwPriority")), below=_v(48)),
    ),
    "network": (_Gate(_drop("EnableIPv4"), below=_v(48)),),
    "image": (
        _Gate(_drop("VirtualSize"), since=_v(44)),
        _Gate(_legacy_config, below=_v(50)),
        _Gate(_drop("Container", "ContainerConfig"), since=_v(45)),
    ),
    "image row": (
        _Gate(_none_tags, below=_v(43)),
        _Gate(_drop("VirtualSize"), since=_v(44)),
        _Gate(_set(Containers=-1), below=_v(51)),
    ),
    "info": (
        _Gate(_drop("Containerd"), below=_v(46)),
        _Gate(_drop("FirewallBackend"), below=_v(49)),
        _Gate(_expected_commits, below=_v(49)),
        _Gate(_no_other_artifacts, below=_v(48)),
        _Gate(_drop("BridgeNfIptables", "BridgeNfIp6tables"), since=_v(50)),
        _Gate(_drop("DiscoveredDevices"), below=_v(50)),
    ),
}


def changes_response(kind: str, version: ApiVersion) -> bool:
    """Whether a response of ``kind`` (a key of the table) differs from what the engine says."""
    return any(gate.covers(version) for gate in _RESPONSES.get(kind, ()))


def shape_response(kind: str, document: Document, version: ApiVersion) -> Document:
    """Change ``document`` (one object of a response) into what ``version`` knew, in place."""
    for gate in _RESPONSES[kind]:
        if gate.covers(version):
            gate.apply(document)
    return document


class _RequestGate(NamedTuple):
    """``apply`` takes away what versions below ``below`` did not have."""

    below: ApiVersion
    apply: Callable[[ContainerCreate, HostConfig], None]


def _each_mount(change: Callable[[Mount], None]) -> Callable[[ContainerCreate, HostConfig], None]:
    def apply(_: ContainerCreate, host: HostConfig) -> None:
        for mount in host.Mounts or ():
            change(mount)

    return apply


def _below_1_25(_: ContainerCreate, host: HostConfig) -> None:
    host.AutoRemove = False


def _below_1_40(_: ContainerCreate, host: HostConfig) -> None:
    host.KernelMemoryTCP = 0
    host.IpcMode = host.IpcMode or "shareable"


def _recursive_bind(mount: Mount) -> None:
    if mount.BindOptions is not None:
        mount.BindOptions.NonRecursive = False


def _existing_source(mount: Mount) -> None:
    if mount.BindOptions is not None:
        mount.BindOptions.CreateMountpoint = False


def _below_1_42(_: ContainerCreate, host: HostConfig) -> None:
    host.ConsoleSize = (0, 0)


def _below_1_43(_: ContainerCreate, host: HostConfig) -> None:
    host.Annotations = None


def _below_1_44(body: ContainerCreate, _: HostConfig) -> None:
    if body.Healthcheck is not None:
        body.Healthcheck.StartInterval = 0
    endpoints = (body.NetworkingConfig and body.NetworkingConfig.EndpointsConfig) or {}
    if len(endpoints) > 1:
        raise InvalidArgument(
            f"Container cannot be created with multiple network endpoints: {', '.join(sorted(endpoints))}"
        )


def _plain_read_only(mount: Mount) -> None:
    """A read-only bind was not recursively read-only before 1.44."""
    if mount.BindOptions is not None:
        mount.BindOptions.ReadOnlyNonRecursive = mount.Type == "bind" and mount.ReadOnly
        mount.BindOptions.ReadOnlyForceRecursive = False


def _no_subpath(mount: Mount) -> None:
    if mount.VolumeOptions is not None:
        mount.VolumeOptions.Subpath = ""


def _no_tmpfs_options(mount: Mount) -> None:
    if mount.TmpfsOptions is not None:
        mount.TmpfsOptions.Options = None


def _below_1_48(body: ContainerCreate, _: HostConfig) -> None:
    for endpoint in ((body.NetworkingConfig and body.NetworkingConfig.EndpointsConfig) or {}).values():
        endpoint.GwPriority = 0


_CREATE: Final = (
    _RequestGate(_v(25), _below_1_25),
    _RequestGate(_v(40), _below_1_40),
    _RequestGate(_v(40), _each_mount(_recursive_bind)),
    _RequestGate(_v(42), _below_1_42),
    _RequestGate(_v(42), _each_mount(_existing_source)),
    _RequestGate(_v(43), _below_1_43),
    _RequestGate(_v(44), _below_1_44),
    _RequestGate(_v(44), _each_mount(_plain_read_only)),
    _RequestGate(_v(45), _each_mount(_no_subpath)),
    _RequestGate(_v(46), _each_mount(_no_tmpfs_options)),
    _RequestGate(_v(48), _below_1_48),
)


def shape_create(body: ContainerCreate, version: ApiVersion) -> ContainerCreate:
    """Make a create request of ``version`` one of the newest, in place.

    Raises:
        InvalidArgument: it asks for what ``version`` refused.
    """
    if body.HostConfig is None:
        body.HostConfig = HostConfig()
    if version >= _v(42):
        body.HostConfig.KernelMemory = 0
        _check_mount_options(body.HostConfig)
    if version < MAXIMUM:
        for gate in _CREATE:
            if version < gate.below:
                gate.apply(body, body.HostConfig)
    if body.HostConfig.PidsLimit is not None and body.HostConfig.PidsLimit <= 0:
        body.HostConfig.PidsLimit = None
    return body


def shape_update(wanted: HostConfig, version: ApiVersion) -> HostConfig:
    """The body of an update as this client's version means it."""
    if version < _v(40):
        wanted.PidsLimit = None
    if version >= _v(42):
        wanted.KernelMemory = 0
    return wanted


def _check_mount_options(host: HostConfig) -> None:
    for mount in host.Mounts or ():
        for name, options in (
            ("Volume", mount.VolumeOptions),
            ("Bind", mount.BindOptions),
            ("Tmpfs", mount.TmpfsOptions),
            ("Image", mount.ImageOptions),
        ):
            if options is not None and mount.Type != name.lower():
                raise InvalidArgument(f'{name}Options must not be specified on mount type "{mount.Type}"')


def shape_exec(body: ExecCreate, version: ApiVersion) -> ExecCreate:
    """Make an exec request of ``version`` one of the newest, in place."""
    if version < _v(42):
        body.ConsoleSize = None
    return body
