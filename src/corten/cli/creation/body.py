"""The body of ``POST /containers/create`` from parsed options; reads the files that options name.

What is left at its default is left out, which the API reads as the same.
"""

from __future__ import annotations

from corten.api.document import decode, encode
from corten.cli.creation import environment, mounts, ports, values
from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.options import Options

    Document = dict[str, Any]

#: Flags that are one field of HostConfig with the same value.
HOST_TEXTS = {
    "cgroup-parent": "CgroupParent", "cgroupns": "CgroupnsMode", "cidfile": "ContainerIDFile",
    "cpuset-cpus": "CpusetCpus", "cpuset-mems": "CpusetMems", "ipc": "IpcMode", "isolation": "Isolation",
    "pid": "PidMode", "runtime": "Runtime", "userns": "UsernsMode", "uts": "UTSMode", "volume-driver": "VolumeDriver",
}  # fmt: skip
HOST_NUMBERS = {
    "blkio-weight": "BlkioWeight", "cpu-period": "CpuPeriod", "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod", "cpu-rt-runtime": "CpuRealtimeRuntime", "cpu-shares": "CpuShares",
    "cpus": "NanoCpus", "memory": "Memory", "memory-reservation": "MemoryReservation", "memory-swap": "MemorySwap",
    "memory-swappiness": "MemorySwappiness", "oom-score-adj": "OomScoreAdj", "pids-limit": "PidsLimit",
    "shm-size": "ShmSize",
}  # fmt: skip
HOST_SWITCHES = {
    "init": "Init", "oom-kill-disable": "OomKillDisable", "privileged": "Privileged", "publish-all": "PublishAllPorts",
    "read-only": "ReadonlyRootfs", "rm": "AutoRemove",
}  # fmt: skip
HOST_LISTS = {
    "add-host": "ExtraHosts", "device-cgroup-rule": "DeviceCgroupRules", "dns": "Dns", "dns-search": "DnsSearch",
    "group-add": "GroupAdd", "link": "Links", "volumes-from": "VolumesFrom",
}  # fmt: skip
HOST_ITEMS = {
    "blkio-weight-device": "BlkioWeightDevice", "device-read-bps": "BlkioDeviceReadBps",
    "device-read-iops": "BlkioDeviceReadIOps", "device-write-bps": "BlkioDeviceWriteBps",
    "device-write-iops": "BlkioDeviceWriteIOps", "mount": "Mounts",
}  # fmt: skip
HEALTH = {
    "health-interval": "Interval", "health-timeout": "Timeout", "health-start-period": "StartPeriod",
    "health-start-interval": "StartInterval", "health-retries": "Retries",
}  # fmt: skip
#: Namespace modes an engine knows beside an empty one; the second word is the prefix of others, ``container:NAME``.
MODES = {
    "pid": (("host",), "container:", "--pid: invalid PID mode"),
    "uts": (("host",), "", "--uts: invalid UTS mode"),
    "userns": (("host", "auto"), "auto:", "--userns: invalid USER mode"),
    "cgroupns": (("host", "private"), "", "--cgroupns: invalid CGROUP mode"),
}
PREDEFINED = frozenset({"default", "bridge", "host", "none"})


def build(given: Options, image: str, command: list[str]) -> Document:
    """The whole body.

    Raises:
        ClientError: options contradict each other or name what cannot be read; the text is Docker's.
    """
    try:
        return _build(given, image, command)
    except ValueError as error:
        raise ClientError(str(error)) from error


def _build(given: Options, image: str, command: list[str]) -> Document:
    _check_modes(given)
    host = _host(given)
    body = _container(given, image, command, host)
    body["HostConfig"] = host
    endpoints = _networks(given, host)
    if endpoints:
        body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    return body


def _check_modes(given: Options) -> None:
    for flag, (known, prefix, text) in MODES.items():
        mode = given.text(flag)
        joined = prefix and mode.startswith(prefix) and mode != prefix
        if mode and mode not in known and not joined:
            raise ValueError(text)
    swappiness = given.number("memory-swappiness")
    if swappiness != -1 and not 0 <= swappiness <= 100:
        raise ValueError(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    if not given.flag("disable-content-trust"):
        raise ValueError("--disable-content-trust=false is not supported: this engine verifies no signatures yet")


def _container(given: Options, image: str, command: list[str], host: Document) -> Document:
    attached = given.texts("attach") or ["stdout", "stderr", *(["stdin"] if given.flag("interactive") else [])]
    body: Document = {
        "Image": image,
        "AttachStdin": "stdin" in attached,
        "AttachStdout": "stdout" in attached,
        "AttachStderr": "stderr" in attached,
        "OpenStdin": given.flag("interactive"),
        "StdinOnce": given.flag("interactive") and "stdin" in attached,
        "Tty": given.flag("tty"),
        "Env": environment.merged(given.texts("env-file"), given.texts("env")),
        "Labels": environment.labels(given.texts("label-file"), given.texts("label")),
        "Cmd": command or None,
        "Entrypoint": [given.text("entrypoint")] if "entrypoint" in given.changed else None,
        "Hostname": given.text("hostname"),
        "Domainname": given.text("domainname"),
        "User": given.text("user"),
        "WorkingDir": given.text("workdir"),
        "StopSignal": given.text("stop-signal"),
        "StopTimeout": given.number("stop-timeout") if "stop-timeout" in given.changed else None,
        "Healthcheck": _healthcheck(given),
        "Volumes": {},
    }
    for text in given.texts("volume"):
        bound, target = mounts.bind(text)
        if bound:
            host.setdefault("Binds", []).append(bound)
        else:
            body["Volumes"][target] = {}
    exposed = {port for text in given.texts("expose") for port in ports.exposed(text)}
    exposed.update(host.get("PortBindings", ()))
    body["ExposedPorts"] = {port: {} for port in sorted(exposed)}
    keep = {"AttachStdin", "AttachStdout", "AttachStderr"}
    return {key: value for key, value in body.items() if key in keep or value not in (None, "", False, [], {})}


def _healthcheck(given: Options) -> Document | None:
    times = {field: given.number(flag) for flag, field in HEALTH.items() if given.number(flag)}
    if given.flag("no-healthcheck"):
        if given.text("health-cmd") or times:
            raise ValueError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    for flag in HEALTH:
        if given.number(flag) < 0:
            raise ValueError(f"--{flag} cannot be negative")
    check: Document = {"Test": ["CMD-SHELL", given.text("health-cmd")]} if given.text("health-cmd") else {}
    return {**check, **times} or None


def _host(given: Options) -> Document:
    host: Document = {}
    host.update((field, given.text(flag)) for flag, field in HOST_TEXTS.items() if given.text(flag))
    host.update((field, given.number(flag)) for flag, field in HOST_NUMBERS.items() if flag in given.changed)
    host.update((field, given.flag(flag)) for flag, field in HOST_SWITCHES.items() if flag in given.changed)
    host.update((field, given.texts(flag)) for flag, field in HOST_LISTS.items() if given.texts(flag))
    host.update((field, given.items(flag)) for flag, field in HOST_ITEMS.items() if given.items(flag))
    host["RestartPolicy"] = values.restart_policy(given.text("restart"))
    if given.flag("rm") and host["RestartPolicy"]["Name"] not in {"", "no"}:
        raise ValueError("conflicting options: cannot specify both --restart and --rm")
    options = [*given.texts("dns-option"), *given.texts("dns-opt")]
    added, dropped = values.capabilities(given.texts("cap-add"), given.texts("cap-drop"))
    ulimits = {item["Name"]: item for item in given.items("ulimit") if isinstance(item, dict)}
    more = {
        "DnsOptions": options,
        "CapAdd": added,
        "CapDrop": dropped,
        "Ulimits": [ulimits[name] for name in sorted(ulimits)],
        "Sysctls": dict(item for item in given.items("sysctl") if isinstance(item, tuple)),
        "Annotations": dict(text.partition("=")[::2] for text in given.texts("annotation")),
        "Tmpfs": dict(text.partition(":")[::2] for text in given.texts("tmpfs")),
        "StorageOpt": _pairs(given.texts("storage-opt"), "invalid storage option"),
        "PortBindings": _bindings(given),
        "LogConfig": _logging(given),
        "Devices": _devices(given),
        "DeviceRequests": _device_requests(given),
    }
    host.update((field, value) for field, value in more.items() if value)
    _security(given, host)
    return host


def _pairs(texts: list[str], failure: str) -> Document:
    if not all("=" in text for text in texts):
        raise ValueError(failure)
    return dict(text.partition("=")[::2] for text in texts)


def _bindings(given: Options) -> Document:
    bindings: Document = {}
    for text in given.texts("publish"):
        for port, address, wanted in ports.published(text):
            bindings.setdefault(port, []).append({"HostIp": address, "HostPort": wanted})
    return {port: bindings[port] for port in sorted(bindings)}


def _logging(given: Options) -> Document:
    driver, texts = given.text("log-driver"), given.texts("log-opt")
    if driver == "none" and texts:
        raise ValueError("invalid logging opts for driver none")
    if not driver and not texts:
        return {}
    return {"Type": driver, "Config": dict(text.partition("=")[::2] for text in texts)}


def _devices(given: Options) -> list[Document]:
    return [values.device_mapping(values.device(text)) for text in given.texts("device")
            if not values.is_cdi_device(text)]  # fmt: skip


def _device_requests(given: Options) -> list[object]:
    requests = given.items("gpus")
    named = [text for text in given.texts("device") if values.is_cdi_device(text)]
    return [*requests, *([{"Driver": "cdi", "DeviceIDs": named}] if named else [])]


def _security(given: Options, host: Document) -> None:
    kept = []
    for text in given.texts("security-opt"):
        name, equals, value = text.partition("=")
        if not equals and ":" in text:
            name, equals, value = text.partition(":")
            text = f"{name}={value}"
        if (not equals and name != "no-new-privileges") or (equals and not value):
            raise ValueError(f'Invalid --security-opt: "{text}"')
        if text == "systempaths=unconfined":
            host["MaskedPaths"] = []
            host["ReadonlyPaths"] = []
            continue
        if name == "seccomp" and value not in {"unconfined", "builtin"}:
            text = f"seccomp={_seccomp(value)}"
        kept.append(text)
    if kept:
        host["SecurityOpt"] = kept


def _seccomp(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return encode(decode(file.read()))
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise ValueError(f"opening seccomp profile ({path}) failed: open {path}: {reason}") from error
    except ValueError as error:
        raise ValueError(f"compacting json for seccomp profile ({path}) failed: {error}") from error


def _networks(given: Options, host: Document) -> Document:
    """Endpoint settings by network; ``NetworkMode`` is the first network."""
    attachments = [dict(item) for item in given.items("network") + given.items("net") if isinstance(item, dict)]
    attachments = attachments or [{"name": "default", "aliases": [], "options": {}, "local": []}]
    host["NetworkMode"] = attachments[0]["name"]
    _apply(given, attachments[0])
    names = [str(attachment["name"]) for attachment in attachments]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f'network "{name}" is specified multiple times')
    predefined = [name in PREDEFINED or name.startswith("container:") for name in names]
    if any(predefined) and not all(predefined):
        raise ValueError("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
    endpoints = {name: _endpoint(attachment) for name, attachment in zip(names, attachments, strict=True)}
    return {} if len(endpoints) == 1 and not any(endpoints.values()) else endpoints


def _apply(given: Options, attachment: Document) -> None:
    """The older options describe the first network; they may not say twice what its long form says."""
    aliases = [*given.texts("network-alias"), *given.texts("net-alias")]
    if attachment["aliases"] and aliases:
        raise ValueError("conflicting options: cannot specify both --network-alias and per-network alias")
    attachment["aliases"] = attachment["aliases"] or aliases
    if given.texts("link") and str(attachment["name"]) not in PREDEFINED:
        attachment["links"] = given.texts("link")
    for flag, key, shown in (
        ("ip", "ip", "IPv4 address"),
        ("ip6", "ip6", "IPv6 address"),
        ("mac-address", "mac", "MAC address"),
    ):
        value = given.text(flag)
        if value and attachment.get(key):
            raise ValueError(f"conflicting options: cannot specify both --{flag} and per-network {shown}")
        if value:
            attachment[key] = value
    if attachment.get("mac"):
        values.mac_address(attachment["mac"])
    local = given.texts("link-local-ip")
    if local and attachment["local"]:
        raise ValueError(
            "conflicting options: cannot specify both --link-local-ip and per-network link-local IP addresses"
        )
    attachment["local"] = attachment["local"] or local


def _endpoint(attachment: Document) -> Document:
    addresses = {
        "IPv4Address": attachment.get("ip"),
        "IPv6Address": attachment.get("ip6"),
        "LinkLocalIPs": attachment["local"],
    }
    endpoint = {
        "IPAMConfig": {key: value for key, value in addresses.items() if value},
        "Aliases": attachment["aliases"],
        "Links": attachment.get("links"),
        "MacAddress": attachment.get("mac"),
        "DriverOpts": attachment["options"],
        "GwPriority": attachment.get("priority"),
    }
    return {key: value for key, value in endpoint.items() if value}
