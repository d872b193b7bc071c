"""From a request to an OCI document: Docker's defaults, merging, refusals."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.api.types.container import (
    ContainerConfig,
    ContainerCreate,
    DeviceMapping,
    HostConfig,
    RestartPolicy,
    UlimitSetting,
)
from corten.engine.config import EngineConfig, Ulimit
from corten.engine.containers.create import split
from corten.engine.mounts import parse_bind
from corten.engine.spec import capabilities, checks, merge, refusals
from corten.engine.spec.completion import complete
from corten.engine.spec.document import Facts, Identity, build, root_propagation
from corten.engine.spec.limits import HostLimits, check_limits, parse_list
from corten.engine.spec.process import environment, overlay
from corten.engine.spec.resources import linux_resources, rlimits
from corten.engine.spec.security import Modules, parse_security
from corten.errors import InvalidArgument, NotSupported
from corten.oci import image as oci

ENGINE = EngineConfig()
LIMITS = HostLimits(processors=2, cpus="0-1", mems="0")


def document(config: ContainerConfig | None = None, host: HostConfig | None = None, **facts: Any) -> dict[str, Any]:
    config, host = complete(config or ContainerConfig(), host or HostConfig(), "0123456789ab", ENGINE)
    mounts = [parse_bind(text) for text in host.Binds or ()]
    known = Facts(cgroup_path="/corten/x", private_cgroup_namespace=False, **facts)
    return build(Identity(args=["true"], config=config, host=host, mounts=mounts), known, ENGINE)


def namespaces(spec: dict[str, Any]) -> set[str]:
    return {entry["type"] for entry in spec["linux"]["namespaces"]}


def test_default_container_is_dockers() -> None:
    spec = document()
    assert spec["hostname"] == "0123456789ab"
    assert namespaces(spec) == {"mount", "network", "uts", "pid", "ipc"}
    assert set(spec["process"]["capabilities"]) == {"bounding", "effective", "permitted"}
    assert len(spec["process"]["capabilities"]["bounding"]) == 14
    assert spec["linux"]["sysctl"] == {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
    }
    shm = next(mount for mount in spec["mounts"] if mount["destination"] == "/dev/shm")
    assert "size=67108864" in shm["options"]
    assert "/proc/kcore" in spec["linux"]["maskedPaths"]
    assert spec["linux"]["resources"] == {"devices": [{"allow": False, "access": "rwm"}]}
    assert spec["process"]["env"] == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=0123456789ab",
    ]


def test_privileged_lifts_masks_devices_and_capabilities() -> None:
    spec = document(host=HostConfig(Privileged=True))
    assert "maskedPaths" not in spec["linux"]
    assert spec["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert len(spec["process"]["capabilities"]["bounding"]) == len(capabilities.KNOWN)
    assert all("ro" not in mount["options"] for mount in spec["mounts"])


def test_host_namespaces_are_not_listed() -> None:
    spec = document(host=HostConfig(NetworkMode="host", PidMode="host", IpcMode="host", UTSMode="host"), network="host")
    assert namespaces(spec) == {"mount"}
    assert "hostname" not in spec
    assert spec["linux"]["sysctl"] == {}


def test_a_bind_over_a_default_mount_replaces_it_and_parents_come_first() -> None:
    spec = document(host=HostConfig(Binds=["/b/c:/data/in/side", "/a:/dev/shm", "/d:/data"]))
    paths = [mount["destination"] for mount in spec["mounts"]]
    assert paths.count("/dev/shm") == 1
    assert paths.index("/data") < paths.index("/data/in/side")


def test_readonly_bind_is_recursively_so_where_the_kernel_can() -> None:
    host = HostConfig(Binds=["/a:/b:ro"])
    assert "rro" in document(host=host)["mounts"][-1]["options"]
    assert "ro" in document(host=host, recursive_read_only=False)["mounts"][-1]["options"]


@pytest.mark.parametrize(
    ("client", "image", "expected"),
    [
        ({"Cmd": ["a"]}, {"entrypoint": ("e",), "cmd": ("c",)}, ["e", "a"]),
        ({}, {"entrypoint": ("e",), "cmd": ("c",)}, ["e", "c"]),
        ({"Entrypoint": ["x"]}, {"entrypoint": ("e",), "cmd": ("c",)}, ["x"]),
        ({"Entrypoint": [""], "Cmd": ["a"]}, {"entrypoint": ("e",)}, ["a"]),
    ],
)
def test_command_merging(client: dict[str, Any], image: dict[str, Any], expected: list[str]) -> None:
    merged = merge.merge(ContainerConfig(**client), oci.ContainerConfig(**image))
    assert merge.command_line(merged) == expected


def test_no_command() -> None:
    with pytest.raises(InvalidArgument, match="no command specified"):
        merge.command_line(
            merge.merge(ContainerConfig(Entrypoint=[""]), oci.ContainerConfig(cmd=("c",), entrypoint=("e",)))
        )


def test_a_command_given_as_one_text_is_one_word() -> None:
    config, _ = split(ContainerCreate(Image="x", Cmd="echo hello"))
    assert config.Cmd == ["echo hello"]


def test_client_environment_and_labels_win() -> None:
    image = oci.ContainerConfig(env=("A=1", "B=2"), labels={"x": "1", "y": "2"}, exposed_ports={"80/tcp": {}})
    merged = merge.merge(ContainerConfig(Env=["B=3"], Labels={"y": "9"}, ExposedPorts={"81/tcp": {}}), image)
    assert merged.Env == ["B=3", "A=1"]
    assert merged.Labels == {"x": "1", "y": "9"}
    assert set(merged.ExposedPorts or {}) == {"80/tcp", "81/tcp"}


def test_terminal_gets_a_terminal_type_that_the_client_may_change() -> None:
    assert "TERM=xterm" in environment(ContainerConfig(Tty=True), "h", terminal=True)
    assert "TERM=vt100" in environment(ContainerConfig(Env=["TERM=vt100"]), "h", terminal=True)
    assert not [
        entry for entry in environment(ContainerConfig(Env=["PATH"]), "h", terminal=False) if entry.startswith("PATH")
    ]


@given(
    st.lists(st.from_regex(r"[A-C](=[a-z]*)?", fullmatch=True)),
    st.lists(st.from_regex(r"[A-C](=[a-z]*)?", fullmatch=True)),
)
def test_overlay_leaves_one_entry_for_each_name(start: list[str], changes: list[str]) -> None:
    merged = overlay([entry for entry in start if "=" in entry], changes)
    names = [entry.partition("=")[0] for entry in merged]
    assert len(names) == len(set(names))
    for entry in reversed(changes):
        if "=" in entry:
            name = entry.partition("=")[0]
            last = [change for change in changes if change.partition("=")[0] == name][-1]
            assert (last in merged) == ("=" in last)


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ([], ["ALL"], set()),
        (["NET_ADMIN"], ["ALL"], {"CAP_NET_ADMIN"}),
        (["cap_net_admin"], [], {*capabilities.DEFAULT, "CAP_NET_ADMIN"}),
        (["ALL"], ["CHOWN"], {*capabilities.KNOWN} - {"CAP_CHOWN"}),
        ([], ["mknod"], {*capabilities.DEFAULT} - {"CAP_MKNOD"}),
    ],
)
def test_capabilities(add: list[str], drop: list[str], expected: set[str]) -> None:
    assert set(capabilities.effective(add, drop, privileged=False)) == expected


def test_unknown_capability() -> None:
    with pytest.raises(InvalidArgument, match='unknown capability: "CAP_FLY"'):
        capabilities.normalize(["fly"])


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ({"Memory": 4096}, "Minimum memory limit allowed is 6MB"),
        (
            {"Memory": 1 << 30, "MemorySwap": 1 << 29},
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        ({"MemorySwap": 1 << 30}, "You should always set the Memory limit when using Memoryswap limit, see usage"),
        ({"NanoCpus": 3 * 10**9}, "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
        ({"NanoCpus": 10**9, "CpuQuota": 5000}, "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        ({"CpusetCpus": "0-4"}, "Requested CPUs are not available - requested 0-4, available: 0-1"),
        ({"CpusetCpus": "x"}, "Invalid value x for cpuset cpus"),
        ({"CpuPeriod": 10}, "CPU cfs period can not be less than 1ms"),
        ({"MemorySwappiness": 101}, "valid memory swappiness range is 0-100"),
    ],
)
def test_impossible_limits_are_refused_in_dockers_words(host: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_limits(HostConfig(**host), LIMITS)
    assert text in str(caught.value)


def test_limits_in_the_document() -> None:
    host = HostConfig(Memory=1 << 26, NanoCpus=1_500_000_000, CpuShares=512, CpusetCpus="0", PidsLimit=20)
    _, host = complete(ContainerConfig(), host, "x", ENGINE)
    resources = linux_resources(host, [], {})
    assert resources["memory"] == {"limit": 1 << 26, "swap": 1 << 27}
    assert resources["cpu"] == {"shares": 512, "quota": 150_000, "period": 100_000, "cpus": "0"}
    assert resources["pids"] == {"limit": 20}


@given(st.sets(st.integers(0, 300)))
def test_cpuset_lists(numbers: set[int]) -> None:
    assert parse_list(",".join(map(str, numbers))) == numbers


def test_rlimits_of_the_container_replace_the_engines() -> None:
    default = [Ulimit("nofile", 10, 20), Ulimit("core", 0, 0)]
    assert rlimits([UlimitSetting("nofile", -1, -1)], default) == [
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_NOFILE", "soft": 2**64 - 1, "hard": 2**64 - 1},
    ]


def test_every_field_is_handled_refused_or_ignored_on_purpose() -> None:
    fields = {*ContainerConfig.__struct_fields__, *HostConfig.__struct_fields__}
    classes = (refusals.HANDLED, frozenset(refusals.REFUSED), refusals.IGNORED)
    assert fields == frozenset().union(*classes)
    assert sum(map(len, classes)) == len(fields)


@pytest.mark.parametrize("field", sorted(refusals.REFUSED))
def test_each_unsupported_option_is_refused_by_name(field: str) -> None:
    kinds = {entry.name: entry.type for kind in (ContainerConfig, HostConfig) for entry in msgspec.structs.fields(kind)}
    config, host = ContainerConfig(), HostConfig()
    value: Any = "x" if kinds[field] is str else 7 if kinds[field] is int else ["x"]
    host = msgspec.structs.replace(host, **{field: value})
    with pytest.raises(NotSupported, match=f"{refusals.REFUSED[field]} is not supported yet"):
        refusals.refuse(config, host)


def test_neutral_values_pass() -> None:
    refusals.refuse(ContainerConfig(), HostConfig(Isolation="default", UsernsMode="host"))


@pytest.mark.parametrize(
    ("config", "host", "text"),
    [
        ({"WorkingDir": "rel"}, {}, "the working directory 'rel' is invalid, it needs to be an absolute path"),
        ({"StopSignal": "SIGNOPE"}, {}, "invalid signal: SIGNOPE"),
        ({"Env": ["=x"]}, {}, "invalid environment variable: =x"),
        ({"Hostname": "h"}, {"UTSMode": "host"}, "conflicting options: hostname and the UTS mode"),
        ({}, {"OomScoreAdj": 2000}, "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
        (
            {},
            {"AutoRemove": True, "RestartPolicy": RestartPolicy("always")},
            "can't create 'AutoRemove' container with restart policy",
        ),
        ({}, {"IpcMode": "nope"}, "invalid IPC mode: nope"),
        ({}, {"SecurityOpt": ["what"]}, 'invalid --security-opt 1: "what"'),
        ({}, {"Devices": [DeviceMapping("/dev/x", "/dev/x", "q")]}, "bad mode specified: q"),
        ({}, {"DeviceCgroupRules": ["c 1"]}, "invalid device cgroup rule format: 'c 1'"),
        ({}, {"Tmpfs": {"rel": ""}}, "invalid mount path: 'rel' mount path must be absolute"),
    ],
)
def test_checks_in_dockers_words(config: dict[str, Any], host: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        checks.check(ContainerConfig(**config), HostConfig(**host), Modules())
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("options", "privileges", "seccomp"),
    [
        (["no-new-privileges"], True, ""),
        (["no-new-privileges:true", "seccomp=unconfined"], True, "unconfined"),
        (["no-new-privileges=false"], False, ""),
        (["seccomp=builtin"], False, ""),
        (['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}'], False, '{"defaultAction":"SCMP_ACT_ALLOW"}'),
    ],
)
def test_security_options(options: list[str], privileges: bool, seccomp: str) -> None:
    parsed = parse_security(options, no_new_privileges=False)
    assert (parsed.no_new_privileges, parsed.seccomp) == (privileges, seccomp)


@pytest.mark.parametrize(
    ("option", "modules", "lack"),
    [
        ("apparmor=tight", Modules(selinux=True), "AppArmor is not enabled on this host"),
        ("label=type:svirt_t", Modules(apparmor=True), "SELinux is not enabled on this host"),
        ("label=type:svirt_t", Modules(selinux=True), "the engine does not label yet"),
    ],
)
def test_confinement_that_cannot_be_given_is_refused(option: str, modules: Modules, lack: str) -> None:
    with pytest.raises(NotSupported, match=f"--security-opt {option} is not supported: {lack}"):
        checks.check(ContainerConfig(), HostConfig(SecurityOpt=[option]), modules)


@pytest.mark.parametrize("option", ["apparmor=unconfined", "apparmor=", "label=disable", "seccomp=unconfined"])
def test_what_asks_for_no_confinement_needs_no_module(option: str) -> None:
    checks.check(ContainerConfig(), HostConfig(SecurityOpt=[option]), Modules())


def test_a_loaded_apparmor_profile_reaches_the_runtime() -> None:
    host = HostConfig(SecurityOpt=["apparmor=tight"])
    checks.check(ContainerConfig(), host, Modules(apparmor=True))
    assert document(host=host)["process"]["apparmorProfile"] == "tight"


@pytest.mark.parametrize(
    ("host", "writable"),
    [
        (HostConfig(), False),
        (HostConfig(SecurityOpt=["writable-cgroups=true"]), True),
        (HostConfig(Privileged=True), True),
        (HostConfig(Privileged=True, SecurityOpt=["writable-cgroups=false"]), False),
    ],
)
def test_writable_cgroups(host: HostConfig, writable: bool) -> None:
    mount = next(one for one in document(host=host)["mounts"] if one["destination"] == "/sys/fs/cgroup")
    assert ("ro" not in mount["options"]) is writable


@pytest.mark.parametrize(
    ("binds", "expected"),
    [
        (["/a:/a"], "rprivate"),
        (["/a:/a:slave"], "rslave"),
        (["/a:/a:rslave", "/b:/b:rshared"], "shared"),
    ],
)
def test_the_root_spreads_as_its_binds_need(binds: list[str], expected: str) -> None:
    assert root_propagation([parse_bind(text) for text in binds]) == expected
