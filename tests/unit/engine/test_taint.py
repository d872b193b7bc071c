"""Image data is never control data: the class of CVE-2026-53488, where a label of an image became the engine's own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from corten.api.types.container import ContainerConfig, HostConfig
from corten.engine.config import EngineConfig
from corten.engine.containers.notices import Notices
from corten.engine.events import EventService
from corten.engine.mounts import merge_mounts
from corten.engine.record import ContainerRecord, State
from corten.engine.spec import document, merge
from corten.engine.spec.completion import complete
from corten.oci import image as oci

#: Keys that mean something to this engine, to its runtime, or to others of their kind.
RESERVED = (
    "corten.user", "corten.groups", "corten.layers", "corten.subpath", "corten", "name", "image", "execID", "exitCode",
    "com.docker.swarm.task", "com.docker.volume.anonymous", "io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id",
    "cdi.k8s.io/x", "run.oci.hooks.stderr", "run.oci.handler", "org.systemd.property.Exec", "containerd.io/restart.status",
)  # fmt: skip


def made(image: oci.ContainerConfig) -> tuple[dict[str, Any], ContainerRecord]:
    """The document and the record of a container of this image, that a client asked nothing for."""
    config = merge.merge(ContainerConfig(Image="hostile"), image)
    args = merge.command_line(config)
    config, host = complete(config, HostConfig(), "0123456789ab", EngineConfig())
    points = merge_mounts([], [], [], config.Volumes or (), host.Tmpfs or ())
    facts = document.Facts(cgroup_path="/corten/x", private_cgroup_namespace=True)
    spec = document.build(document.Identity(args=args, config=config, host=host, mounts=()), facts, EngineConfig())
    record = ContainerRecord(
        id="ab" * 32, name="web", created_ns=1, path=args[0], args=(), config=config, host=host, image_id="sha256:1",
        mounts=points, state=State(),
    )  # fmt: skip
    return spec, record


def test_cve_2026_53488_labels_of_an_image_steer_nothing() -> None:
    plain, _ = made(oci.ContainerConfig(cmd=("true",)))
    for value in ("", "0", "/", "true", "host", '{"a": 1}'):
        hostile, _ = made(oci.ContainerConfig(cmd=("true",), labels=dict.fromkeys(RESERVED, value)))
        assert hostile == plain
    assert "annotations" not in plain
    assert "hooks" not in plain


@pytest.mark.parametrize("key", RESERVED)
def test_cve_2026_53488_names_of_an_image_do_not_become_members(key: str) -> None:
    """Whatever an image may choose as a key: variables, ports, volumes, a user, a directory."""
    hostile, _ = made(
        oci.ContainerConfig(
            cmd=("true", key), env=(f"{key}=0",), exposed_ports={key: {}}, volumes={f"/{key}": {}}, user=key, working_dir=f"/{key}",
            stop_signal=key,
        )
    )  # fmt: skip
    user = hostile["process"].pop("user")
    assert user["corten.user"] == key  # a name to look for in the image's own /etc/passwd
    assert f'"{key}":' not in json.dumps(hostile).replace(" ", "") or key == "name"


def test_events_say_the_engines_own_words_over_those_of_labels() -> None:
    _, record = made(
        oci.ContainerConfig(cmd=("true",), labels={"name": "evil", "image": "evil", "exitCode": "0", "x": "kept"})
    )
    events = EventService()
    Notices(events).container(record, "die", exitCode="7")
    (message,) = events._ring
    attributes = message.Actor.Attributes
    assert attributes == {"name": "web", "image": "hostile", "exitCode": "7", "x": "kept"}
