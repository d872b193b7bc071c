"""config.json, process documents, resources, seccomp profiles and mount options of any shape: refused with the member's
path or taken, never an error of another kind."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corten.errors import InvalidArgument, NotSupported
from corten.linux import seccomp as filters
from corten.oci import runtime, schema
from corten.runtime import bundle, container, options, seccomp
from corten.runtime.describe import template

REFUSED = (InvalidArgument, NotSupported)
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["", "/", "..", "a\0b", "\ud800", "net.x", "SCMP_ACT_ERRNO", "write", "pid", "time", "/a:b:c", "1.x"]
    ),
)
NUMBERS = st.integers(-(1 << 65), 1 << 65) | st.sampled_from([-1, 0, 1, 1 << 31, 1 << 63, (1 << 64) - 1])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def full_spec() -> dict[str, Any]:
    """A document that has every member of the tables, so that each of them gets its turn."""
    spec = template()
    spec["process"].update(
        consoleSize={"height": 1, "width": 2}, apparmorProfile="", oomScoreAdj=0, selinuxLabel="",
        scheduler={"policy": "SCHED_OTHER", "nice": 1, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 3}, execCPUAffinity={"initial": "0", "final": "0-1"},
    )  # fmt: skip
    spec["hooks"] = {kind: [{"path": "/x", "args": ["x"], "env": ["A=b"], "timeout": 1}] for kind in schema.HOOKS}
    spec["annotations"] = {"a": "b"}
    spec["linux"].update(
        namespaces=[*spec["linux"]["namespaces"], {"type": "time"}],
        timeOffsets={"monotonic": {"secs": 1, "nanosecs": 2}},
        devices=[{"type": "c", "path": "/dev/x", "major": 1, "minor": 2, "fileMode": 0o600, "uid": 1, "gid": 1}],
        cgroupsPath="/a/b", sysctl={"net.ipv4.ip_forward": "1", "kernel.shmmax": "5", "fs.mqueue.msg_max": "5"},
        rootfsPropagation="slave", personality={"domain": "LINUX32"},
        seccomp=seccomp.default_profile(["CAP_CHOWN"]),
    )  # fmt: skip
    spec["linux"]["resources"] = {
        "devices": [{"allow": False, "type": "a", "access": "rwm"}],
        "memory": {"limit": 1, "swap": 2, "swappiness": 3, "disableOOMKiller": False},
        "cpu": {"shares": 1, "quota": 2, "period": 3, "cpus": "0", "mems": "0", "idle": 0},
        "blockIO": {"weight": 10, "throttleReadBpsDevice": [{"major": 1, "minor": 2, "rate": 3}]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
        "network": {"classID": 0, "priorities": []},
        "pids": {"limit": 1}, "rdma": {}, "unified": {"memory.high": "1"},
    }  # fmt: skip
    return spec


def members(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value below ``value``."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in [(*path, key), *members(item, (*path, key))]]


SPEC = full_spec()
MEMBERS = [
    path for path in members(SPEC) if path[:3] != ("linux", "seccomp", "syscalls") or path[3:4] in ((), (0,), (1,))
]


def replaced(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    spec = copy.deepcopy(SPEC)
    inner = spec
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return spec


def test_the_full_document_is_taken() -> None:
    runtime.validate(SPEC)


def read(document: Any) -> None:
    """What create does with a document before it makes anything."""
    spec = runtime.decode(runtime.encode(document)) if not _has_surrogate(document) else document
    spec = schema.without_nulls(spec)
    runtime.validate(spec)
    if spec.get("process"):
        request = container.StartRequest(id="x", spec=spec, rootfs=[{"target": "/"}])
        assert request.clone_flags >= 0
    bundle.cgroup_path(spec, "x")
    for mount in spec.get("mounts") or ():
        options.parse(mount.get("options") or ())
    options.propagation((spec.get("linux") or {}).get("rootfsPropagation") or "")


def _has_surrogate(document: Any) -> bool:
    return "\ud800" in repr(document)


@given(JSON)
@example({"linux": None})
@example([])
def test_fuzz_any_json_is_taken_or_refused(document: Any) -> None:
    try:
        read(document)
    except REFUSED:
        pass


@settings(max_examples=600)
@given(st.sampled_from(MEMBERS), JSON)
def test_fuzz_any_member_of_any_kind_is_taken_or_refused(path: tuple[Any, ...], value: Any) -> None:
    try:
        read(replaced(path, value))
    except REFUSED:
        pass


@settings(max_examples=150)
@given(st.sampled_from([path[2:] for path in MEMBERS if path[:2] == ("linux", "seccomp") and len(path) > 2]), JSON)
def test_fuzz_seccomp_profiles_compile_or_are_refused(path: tuple[Any, ...], value: Any) -> None:
    small = {**SPEC["linux"]["seccomp"], "syscalls": SPEC["linux"]["seccomp"]["syscalls"][:2]}
    small = copy.deepcopy(
        {**small, "syscalls": [{**small["syscalls"][0], "names": ["read", "mount"]}, small["syscalls"][1]]}
    )
    inner: Any = small
    for key in path[:-1]:
        inner = inner[key]
    if isinstance(inner, list) and path[-1] >= len(inner):
        return
    inner[path[-1]] = value
    try:
        small = schema.without_nulls(small)
        schema.check(small, schema.SECCOMP, "linux.seccomp")
        assert len(filters.compile_profile(small)) % 8 == 0
        filters.filter_flags(small)
    except (*REFUSED, filters.UnsupportedProfileError):
        pass


WORDS = st.sampled_from([*options.names(), "size=1", "mode=", "=", "idmap", "r", "rr", "x=y=z", ""]) | TEXTS


@given(st.lists(WORDS, max_size=6))
def test_fuzz_mount_options_are_taken_or_refused(words: list[str]) -> None:
    try:
        made = options.parse(words)
    except REFUSED:
        return
    assert not made.attr_set & made.attr_clr & ~0x70


@given(st.lists(WORDS, max_size=4), st.sampled_from([("ro", "rw"), ("nosuid", "suid"), ("nodev", "dev")]))
def test_the_last_of_two_opposite_options_wins(words: list[str], pair: tuple[str, str]) -> None:
    for first, last in (pair, pair[::-1]):
        try:
            made = options.parse([*words, first, last])
        except REFUSED:
            return
        assert made.attr_set == options.parse([*(w for w in words if w not in pair), last]).attr_set


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (("process", "args", 0), 5, r"process.args\[0\] must be a string, not a number"),
        (("process", "user", "uid"), -1, "process.user.uid must be from 0 to 4294967295, not -1"),
        (("process", "rlimits"), [{"type": "RLIMIT_CORE"}], r"process.rlimits\[0\].soft must be given"),
        (("process", "rlimits"), [{"type": "X", "soft": 1, "hard": 1}] * 2, "is there twice"),
        (("process", "oomScoreAdj"), 1001, "process.oomScoreAdj must be from -1000 to 1000"),
        (("process", "scheduler", "policy"), "SCHED_X", "process.scheduler.policy: unknown policy"),
        (("process", "ioPriority", "priority"), 8, "process.ioPriority.priority must be from 0 to 7"),
        (("process", "execCPUAffinity", "final"), "3-1", "process.execCPUAffinity.final: '3-1' is no list of CPUs"),
        (("hooks", "poststop", 0, "path"), "x", r"hooks.poststop\[0\].path: 'x' must be an absolute path"),
        (("hooks", "prestart", 0, "timeout"), 0, r"hooks.prestart\[0\].timeout must be greater than zero"),
        (("linux", "intelRdt"), {}, "linux.intelRdt is not supported"),
        (("linux", "netDevices"), {"eth0": {}}, "linux.netDevices is not supported"),
        (("linux", "mountLabel"), "x", "linux.mountLabel is not supported"),
        (("linux", "resources"), {"memory": {"kernelTCP": 1}}, "linux.resources.memory.kernelTCP is not supported"),
        (("linux", "resources"), {"network": {"classID": 5}}, "linux.resources.network.classID is not supported"),
        (("linux", "resources"), {"blockIO": {"leafWeight": 5}}, "linux.resources.blockIO.leafWeight is not supported"),
        (
            ("linux", "resources"),
            {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 5}]}},
            r"linux.resources.blockIO.weightDevice\[0\].leafWeight is not supported",
        ),
        (("linux", "resources"), {"rdma": {"mlx5": {"hcaHandles": 1}}}, "linux.resources.rdma is not supported"),
        (("linux", "personality", "domain"), "BSD", "linux.personality.domain"),
        (("linux", "personality", "flags"), ["x"], "linux.personality.flags"),
        (("linux", "timeOffsets"), {"realtime": {}}, "unknown clock"),
        (("linux", "maskedPaths", 0), "proc", r"linux.maskedPaths\[0\]: 'proc' must be an absolute path"),
        (("linux", "namespaces"), [{"type": "mount"}, {"type": "time"}], "hostname without a private UTS namespace"),
        (("ociVersion",), "2.0.0", "ociVersion '2.0.0' is not supported"),
        (("ociVersion",), "new", "must be a semantic version"),
        (("windows",), {"x": 1}, "windows is not supported"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(path: tuple[Any, ...], value: Any, text: str) -> None:
    with pytest.raises(REFUSED, match=text):
        runtime.validate(replaced(path, value))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("kernel.panic", "not in a separate kernel namespace"),
        ("vm.overcommit_memory", "not in a separate kernel namespace"),
        ("net/../kernel/panic", "is no kernel parameter"),
        ("net.//.kernel.panic", "is no kernel parameter"),
        ("net..x", "is no kernel parameter"),
        ("kernel.hostname", "conflicts with the OCI hostname field"),
    ],
)
def test_sysctls_of_the_host_are_refused(key: str, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        runtime.validate(replaced(("linux", "sysctl"), {key: "1"}))


@pytest.mark.parametrize(
    ("kind", "key"), [("network", "net.core.somaxconn"), ("ipc", "kernel.shmmax"), ("uts", "kernel.domainname")]
)
def test_sysctls_need_the_namespace_they_belong_to(kind: str, key: str) -> None:
    spec = replaced(("linux", "sysctl"), {key: "1"})
    runtime.validate(spec)
    spec["linux"]["namespaces"] = [entry for entry in spec["linux"]["namespaces"] if entry["type"] != kind]
    spec.pop("hostname")
    with pytest.raises(InvalidArgument, match="not allowed"):
        runtime.validate(spec)


def test_sysctl_names_with_dots_in_them() -> None:
    assert runtime.sysctl_path("net.ipv4.conf.eth0/1.forwarding") == "net/ipv4/conf/eth0.1/forwarding"
    assert runtime.sysctl_path("net/ipv4/conf/eth0.1/forwarding") == "net/ipv4/conf/eth0.1/forwarding"


def test_deep_nesting_and_nulls() -> None:
    with pytest.raises(InvalidArgument, match="nested too deeply"):
        bundle.parse(b"[" * 100_000, "config.json")
    assert bundle.parse(b'{"a": null, "b": [{"c": null}]}', "x") == {"b": [{}]}
