"""CDI: what is a valid spec, which device a name means, what a container is given, and that nothing else selects one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.api.types.container import DeviceRequest
from corten.engine import accelerators, cdi
from corten.errors import InvalidArgument, NotSupported

NODE = {"path": "/dev/x0", "type": "c", "major": 1, "minor": 3}


def spec(**changes: Any) -> dict[str, Any]:
    device = {"name": "dev0", "containerEdits": {"env": ["DEVICE=0"], "deviceNodes": [NODE]}}
    found: dict[str, Any] = {"cdiVersion": "0.6.0", "kind": "vendor.com/class", "devices": [device]}
    return {**found, "containerEdits": {"env": ["COMMON=1"]}, **changes}


def edits(**members: Any) -> dict[str, Any]:
    return {"devices": [{"name": "dev0", "containerEdits": members}]}


def empty() -> dict[str, Any]:
    return {
        "process": {"env": ["PATH=/bin", "DEVICE=old"], "user": {"uid": 0}},
        "mounts": [{"destination": "/proc"}, {"destination": "/a/b/c"}],
        "linux": {"devices": [{"path": "/dev/x0", "old": True}], "resources": {"devices": []}},
    }


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"cdiVersion": "9.9.9"}, 'invalid version "9.9.9"'),
        ({"kind": "vendor"}, 'invalid kind "vendor"'),
        ({"kind": "../x/class"}, "invalid kind"),
        ({"devices": []}, "invalid spec, no devices"),
        ({"devices": [{"name": "a/b", "containerEdits": {}}]}, 'invalid device name "a/b"'),
        ({"nosuch": 1}, "unknown field `nosuch`"),
        (edits(env=["X"]), 'invalid environment variable "X"'),
        (edits(deviceNodes=[{"path": "rel"}]), "is not absolute"),
        (edits(deviceNodes=[{"path": "/dev/a", "type": "z"}]), 'invalid type "z"'),
        (edits(deviceNodes=[{"path": "/dev/a", "permissions": "x"}]), 'invalid permissions "x"'),
        (edits(hooks=[{"hookName": "never", "path": "/bin/true"}]), 'invalid hook name "never"'),
        (edits(hooks=[{"hookName": "poststop", "path": "true"}]), "is not absolute"),
        (edits(mounts=[{"hostPath": "/a", "containerPath": "b"}]), "invalid mount"),
        ({**edits(additionalGids=[7]), "cdiVersion": "0.6.0"}, "must be at least v0.7.0"),
        ({"annotations": {"a": "b"}, "cdiVersion": "0.5.0"}, "must be at least v0.6.0"),
        ({**edits(deviceNodes=[{"path": "/dev/a", "hostPath": "/dev/b"}]), "cdiVersion": "0.4.0"}, "at least v0.5.0"),
        (
            {**edits(mounts=[{"hostPath": "/a", "containerPath": "/b", "type": "bind"}]), "cdiVersion": "0.3.0"},
            "v0.4.0",
        ),
        (edits(deviceNodes=[{"path": 7}]), "$.devices[0].containerEdits.deviceNodes[0].path"),
    ],
)
def test_a_wrong_spec_is_refused_by_member(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        cdi.parse(json.dumps(spec(**changes)).encode())
    assert text in str(caught.value)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["cdiVersion", "kind", "devices", "name", "containerEdits", "env"]),
                                      inner, max_size=4), max_leaves=12))  # fmt: skip
def test_fuzz_any_json_is_a_spec_or_a_refusal(document: Any) -> None:
    try:
        cdi.parse(json.dumps(document).encode())
    except InvalidArgument:
        return


def write(directory: Path, name: str, **changes: Any) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(json.dumps(spec(**changes)))


def test_later_directories_win_and_conflicts_are_nobodys(tmp_path: Path) -> None:
    first, second = tmp_path / "etc", tmp_path / "run"
    write(first, "a.json")
    write(second, "b.json", **edits(env=["FROM=second"]))
    registry = cdi.scan([str(first), str(second), str(tmp_path / "missing")])
    assert registry.devices["vendor.com/class=dev0"].path == f"{second}/b.json"
    write(second, "c.json")
    (second / "d.yaml").write_text("cdiVersion: 0.6.0\n")
    (second / "e.json").write_text("{")
    registry = cdi.scan([str(second)])
    assert registry.devices == {}
    shown = "\n".join(registry.problems)
    assert 'conflicting device "vendor.com/class=dev0"' in shown
    assert "d.yaml was not used: this engine reads JSON" in shown
    assert "e.json was not used" in shown


def test_edits_of_spec_and_device_reach_the_document(tmp_path: Path) -> None:
    members = {
        "env": ["DEVICE=0"], "deviceNodes": [NODE], "additionalGids": [44, 0],
        "mounts": [{"hostPath": "/lib/v", "containerPath": "/a"}],
        "hooks": [{"hookName": "createRuntime", "path": "/bin/hook", "args": ["hook"], "timeout": 3}],
    }  # fmt: skip
    write(tmp_path / "s", "a.json", **edits(**members), cdiVersion="0.7.0")
    document = empty()
    request = DeviceRequest(Driver="cdi", DeviceIDs=["vendor.com/class=dev0"])
    accelerators.inject(document, [request], [str(tmp_path / "s")])
    assert document["process"]["env"] == ["PATH=/bin", "COMMON=1", "DEVICE=0"]
    assert document["process"]["user"]["additionalGids"] == [44]
    assert document["linux"]["devices"] == [{"path": "/dev/x0", "type": "c", "major": 1, "minor": 3}]
    rule = {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}
    assert document["linux"]["resources"]["devices"] == [rule]
    assert [mount["destination"] for mount in document["mounts"]] == ["/proc", "/a", "/a/b/c"]
    assert document["hooks"] == {
        "createRuntime": [{"path": "/bin/hook", "args": ["hook"], "env": [], "timeout": 3}],
    }


def test_numbers_left_out_are_the_hosts() -> None:
    node = cdi.resolve(cdi.DeviceNode(path="/dev/mine", host_path="/dev/null"))
    assert (node.path, node.type, node.major, node.minor) == ("/dev/mine", "c", 1, 3)
    with pytest.raises(InvalidArgument, match="failed to stat CDI host device /dev/nosuch"):
        cdi.resolve(cdi.DeviceNode(path="/dev/nosuch"))
    with pytest.raises(InvalidArgument, match="is not of type"):
        cdi.resolve(cdi.DeviceNode(path="/etc/passwd"))
    with pytest.raises(InvalidArgument, match="is not of type b"):
        cdi.resolve(cdi.DeviceNode(path="/dev/null", type="b"))


@pytest.mark.parametrize("member", ["netDevices", "intelRdt"])
def test_what_is_not_done_is_refused_by_name(member: str) -> None:
    found = cdi.Edits(net_devices=({"a": 1},)) if member == "netDevices" else cdi.Edits(intel_rdt={"closID": "x"})
    with pytest.raises(NotSupported, match=member):
        cdi.apply(empty(), found)


def gpus(*names: str) -> cdi.Registry:
    parsed = cdi.parse(json.dumps(spec(kind="nvidia.com/gpu")).encode())
    return cdi.Registry({f"nvidia.com/gpu={name}": cdi.Found(parsed.devices[0], parsed, "") for name in names})


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        (DeviceRequest(Count=-1, Capabilities=[["gpu"]]), ["nvidia.com/gpu=all"]),
        (DeviceRequest(Count=2, Capabilities=[["gpu", "utility"]]), ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]),
        (
            DeviceRequest(DeviceIDs=["1", "UUID-7"], Capabilities=[["gpu"]]),
            ["nvidia.com/gpu=1", "nvidia.com/gpu=UUID-7"],
        ),
        (DeviceRequest(Driver="nvidia", Count=1, Capabilities=[["nosuch"], ["gpu"]]), ["nvidia.com/gpu=0"]),
        (DeviceRequest(Driver="cdi", DeviceIDs=["a/b=c"]), ["a/b=c"]),
    ],
)
def test_gpus_are_cdi_devices(request_: DeviceRequest, names: list[str]) -> None:
    assert accelerators.select(request_, gpus("0", "1", "all")) == names


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (DeviceRequest(Count=-1, Capabilities=[["gpu"]]), 'driver "" with capabilities: [[gpu]]'),
        (
            DeviceRequest(Driver="foo", Capabilities=[["gpu", "x"], ["y"]]),
            'driver "foo" with capabilities: [[gpu x] [y]]',
        ),
    ],
)
def test_a_driver_that_is_not_there(request_: DeviceRequest, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        accelerators.select(request_, cdi.Registry({}))
    assert str(caught.value) == f"could not select device {text}"


def test_attack_cve_2026_53492_names_are_keys_and_never_paths(tmp_path: Path) -> None:
    """A name that looks like a path reads no file outside the administrator's directories."""
    (tmp_path / "evil.json").write_text(json.dumps(spec(kind="evil.com/class")))
    directory = tmp_path / "cdi"
    write(directory, "good.json")
    for name in ("evil.com/class=dev0", "../evil.json=dev0", f"{tmp_path}/evil=dev0", "vendor.com/class=../dev0"):
        request = DeviceRequest(Driver="cdi", DeviceIDs=[name])
        with pytest.raises(InvalidArgument, match="unresolvable CDI devices"):
            accelerators.inject(empty(), [request], [str(directory)])
