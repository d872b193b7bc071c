"""Bodies of a create of any shape: a refusal of our own, or a container whose document the runtime takes or refuses.

Everything between the body and the first system call, for every API version; no 500, whatever a client sends.
"""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from corten.api.body import decode
from corten.api.gates import shape_create
from corten.api.types.container import ContainerCreate
from corten.api.version import MAXIMUM, MINIMUM, ApiVersion
from corten.engine.config import EngineConfig
from corten.engine.containers import logging
from corten.engine.containers.create import _endpoints, split
from corten.engine.containers.facts import network_request
from corten.engine.mounts import merge_mounts, parse_bind, parse_mount, parse_volumes_from
from corten.engine.networks import validation
from corten.engine.record import ContainerRecord, IdMap, State
from corten.engine.spec import checks, document, merge, refusals
from corten.engine.spec.completion import complete
from corten.engine.spec.limits import HostLimits, check_limits
from corten.engine.spec.security import Modules
from corten.engine.userns import check as check_userns
from corten.errors import CortenError
from corten.logs import driver
from corten.oci import image as oci
from corten.oci import runtime

FULL: dict[str, Any] = {
    "Hostname": "h", "Domainname": "d", "User": "1:2", "AttachStdin": True, "AttachStdout": True, "AttachStderr": False,
    "ExposedPorts": {"80/tcp": {}, "90-92/udp": {}}, "Tty": True, "OpenStdin": True, "StdinOnce": True, "Env": ["A=b", "C"],
    "Cmd": ["sh", "-c", "x"], "Healthcheck": {"Test": ["CMD", "x"], "Interval": 10**9, "Timeout": 10**9, "Retries": 3, "StartPeriod": 10**9},
    "ArgsEscaped": True, "Image": "busybox", "Volumes": {"/v": {}}, "WorkingDir": "/w", "Entrypoint": ["e"], "NetworkDisabled": False,
    "MacAddress": "92:d0:c6:0a:29:33", "OnBuild": ["RUN x"], "Labels": {"a": "b"}, "StopSignal": "SIGTERM", "StopTimeout": 5, "Shell": ["sh"],
    "NetworkingConfig": {"EndpointsConfig": {"bridge": {
        "IPAMConfig": {"IPv4Address": "", "IPv6Address": "", "LinkLocalIPs": []}, "Links": None, "Aliases": [], "MacAddress": "",
        "DriverOpts": {}, "GwPriority": 0}}},
    "HostConfig": {
        "Binds": ["/a:/b:ro", "vol:/c"], "ContainerIDFile": "x", "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "tag": "{{.ID}}"}},
        "NetworkMode": "bridge", "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080-8090"}]},
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "AutoRemove": False, "VolumeDriver": "", "VolumesFrom": ["x:ro"],
        "ConsoleSize": [24, 80], "Annotations": {"a": "b"}, "CapAdd": ["NET_ADMIN"], "CapDrop": ["ALL"], "CgroupnsMode": "private",
        "Dns": ["10.0.0.1"], "DnsOptions": ["ndots:1"], "DnsSearch": ["x"], "ExtraHosts": ["a:1.2.3.4"], "GroupAdd": ["5", "x"],
        "IpcMode": "private", "Cgroup": "", "Links": ["a:b"], "OomScoreAdj": 5, "PidMode": "", "Privileged": False, "PublishAllPorts": False,
        "ReadonlyRootfs": True, "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"], "StorageOpt": {}, "Tmpfs": {"/t": "size=1m,mode=700"},
        "UTSMode": "", "UsernsMode": "auto:size=65536", "ShmSize": 1 << 20, "Sysctls": {"net.ipv4.ip_forward": "1"}, "Runtime": "", "Isolation": "",
        "MaskedPaths": ["/proc/kcore"], "ReadonlyPaths": ["/proc/sys"], "CpuShares": 2, "Memory": 1 << 26, "CgroupParent": "/x",
        "BlkioWeight": 100, "BlkioWeightDevice": [{"Path": "/dev/sda", "Weight": 100}], "BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": 1}],
        "BlkioDeviceWriteIOps": [{"Path": "/dev/sda", "Rate": 1}], "CpuPeriod": 0, "CpuQuota": 0, "CpuRealtimePeriod": 2000, "CpuRealtimeRuntime": 1000,
        "NanoCpus": 10**9, "CpusetCpus": "0-1", "CpusetMems": "0", "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}],
        "DeviceCgroupRules": ["c 1:3 rwm"], "DeviceRequests": [{"Driver": "cdi", "Count": 0, "DeviceIDs": ["a.b/c=d"], "Capabilities": [["gpu"]], "Options": {}}],
        "MemoryReservation": 1 << 24, "MemorySwap": 1 << 27, "MemorySwappiness": 10, "OomKillDisable": False, "Init": True, "PidsLimit": 10,
        "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}], "CpuCount": 0, "CpuPercent": 0,
        "Mounts": [
            {"Type": "bind", "Source": "/s", "Target": "/m1", "ReadOnly": True, "BindOptions": {"Propagation": "rslave", "NonRecursive": True}},
            {"Type": "volume", "Source": "v", "Target": "/m2", "VolumeOptions": {
                "NoCopy": True, "Labels": {"a": "b"}, "Subpath": "a/b", "DriverConfig": {"Name": "local", "Options": {"o": "x"}}}},
            {"Type": "tmpfs", "Target": "/m3", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700, "Options": [["noexec"]]}},
            {"Type": "image", "Source": "busybox", "Target": "/m4", "ImageOptions": {"Subpath": "bin"}}],
    },
}  # fmt: skip

TEXTS = st.text(max_size=6) | st.sampled_from(
    ["", "/", "..", "a\0b", "-1", "9" * 400, "host", "none", "container:", "container:x", "all", "a=b", "=", ":", "a:b:c:d", "/x:/y:z", "0-", "1-99999999999",
     "80/tcp", "99999999/tcp", "0x10", "max-size=9", "seccomp={", "seccomp=[]", "label=", "{{", "{{.ID", "ALL", "%", "\u202e", "٣"]
)  # fmt: skip
NUMBERS = st.integers(-(1 << 64), 1 << 64) | st.sampled_from([-1, 0, 1, 1 << 31, (1 << 63) - 1, -(1 << 63)])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def members(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value below ``value``."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in [(*path, key), *members(item, (*path, key))]]


def at(path: tuple[Any, ...]) -> Any:
    """The value there."""
    value: Any = FULL
    for key in path:
        value = value[key]
    return value


MEMBERS = members(FULL)
LIMITS = HostLimits(processors=2, cpus="0-1", mems="0")
ENGINE = EngineConfig()


def replaced(changes: list[tuple[tuple[Any, ...], Any]]) -> dict[str, Any]:
    body = copy.deepcopy(FULL)
    for path, value in changes:
        inner: Any = body
        for key in path[:-1]:
            try:
                inner = inner[key]
            except (KeyError, IndexError, TypeError):
                break
        if isinstance(inner, dict) or (isinstance(inner, list) and isinstance(path[-1], int) and path[-1] < len(inner)):
            inner[path[-1]] = value
    return body


def prepare(raw: bytes, version: ApiVersion) -> dict[str, Any]:
    """What ``create`` and ``start`` make of a body, but for what they look up; the document."""
    body = shape_create(decode(raw, ContainerCreate), version)
    config, host = split(body)
    refusals.refuse(config, host)
    checks.check(config, host, Modules())
    host, _ = check_limits(host, LIMITS)
    check_userns(host, remapped=False)
    config = merge.merge(config, oci.ContainerConfig())
    args = merge.command_line(config)
    config, host = complete(config, host, "0123456789ab", ENGINE)
    for text in host.VolumesFrom or ():
        parse_volumes_from(text)
    binds = [parse_bind(text, host.VolumeDriver) for text in host.Binds or ()]
    mounts = merge_mounts(
        [], binds, [parse_mount(mount) for mount in host.Mounts or ()], config.Volumes or (), host.Tmpfs or ()
    )
    driver.validate(host.LogConfig.Type, host.LogConfig.Config or {})
    record = ContainerRecord(
        id="ab" * 32, name="web", created_ns=1, path=args[0], args=tuple(args[1:]), config=config, host=host, image_id="sha256:1",
        mounts=mounts, state=State(), networking=_endpoints(body.NetworkingConfig),
    )  # fmt: skip
    logging.check(record)
    validation.check(network_request(record))
    facts = document.Facts(
        cgroup_path="/corten/x", block_devices=defaultdict(lambda: (8, 0)), private_cgroup_namespace=True, id_map=IdMap(uids=((0, 1000, 65536),), gids=((0, 1000, 65536),))
    )  # fmt: skip
    return document.build(document.Identity(args=args, config=config, host=host, mounts=mounts), facts, ENGINE)


def try_body(raw: bytes, version: ApiVersion = MAXIMUM) -> bool:
    try:
        made = prepare(raw, version)
    except CortenError:
        return False
    try:
        runtime.validate(json.loads(json.dumps(made)))
    except CortenError:
        pass
    return True


def test_the_full_body_is_taken() -> None:
    assert try_body(json.dumps(FULL).encode())
    runtime.validate(json.loads(json.dumps(prepare(json.dumps(FULL).encode(), MAXIMUM))))


VERSIONS = st.sampled_from([MINIMUM, ApiVersion(1, 30), ApiVersion(1, 41), ApiVersion(1, 44), MAXIMUM])


@given(JSON, VERSIONS)
@example({"Image": "x", "HostConfig": None}, MAXIMUM)
@example([], MINIMUM)
def test_fuzz_any_json_is_a_container_or_a_refusal(body: Any, version: ApiVersion) -> None:
    try_body(json.dumps(body).encode(), version)


@settings(max_examples=800)
@given(st.lists(st.tuples(st.sampled_from(MEMBERS), JSON), min_size=1, max_size=3), VERSIONS)
def test_fuzz_any_member_of_any_kind_is_taken_or_refused(
    changes: list[tuple[tuple[Any, ...], Any]], version: ApiVersion
) -> None:
    try_body(json.dumps(replaced(changes)).encode(), version)


@settings(max_examples=400)
@given(st.sampled_from([path for path in MEMBERS if isinstance(at(path), str)]), TEXTS)
def test_fuzz_any_text_where_a_text_is_wanted(path: tuple[Any, ...], text: str) -> None:
    try_body(json.dumps(replaced([(path, text)])).encode())


@given(st.binary(max_size=200))
def test_fuzz_any_bytes_are_a_body_or_a_refusal(raw: bytes) -> None:
    try_body(raw)
