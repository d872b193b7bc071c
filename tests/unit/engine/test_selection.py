"""Which containers a list shows."""

from typing import Any

import pytest

from corten.api.filters import Filters
from corten.api.types.container import ContainerConfig, HostConfig
from corten.api.types.network import PortBinding
from corten.engine.containers import prune, selection
from corten.engine.containers.selection import Resolved
from corten.engine.lifecycle import Status
from corten.engine.mounts import MountPoint
from corten.engine.networks.record import EndpointRecord, PublishedPort
from corten.engine.record import ContainerRecord, State
from corten.errors import InvalidArgument


def record(**changes: Any) -> ContainerRecord:
    values: dict[str, Any] = {
        "id": "ab" * 32,
        "name": "web",
        "created_ns": 100,
        "path": "true",
        "args": (),
        "config": ContainerConfig(Labels={"tier": "front", "x": ""}, ExposedPorts={"80/tcp": {}}),
        "host": HostConfig(NetworkMode="bridge", PortBindings={"53/udp": [PortBinding("", "5353")]}),
        "image_id": "sha256:1",
        "mounts": (MountPoint(type="volume", destination="/data", name="vol", source="/v"),),
        "network": EndpointRecord(mode="bridge", ports=(PublishedPort("tcp", 80, "0.0.0.0", 8080),)),
        "state": State(status=Status.EXITED, exit_code=3, finished_ns=9),
    }
    return ContainerRecord(**{**values, **changes})


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"name": ["we"]}, True),
        ({"name": ["^/web$"]}, True),
        ({"name": ["^eb"]}, False),
        ({"name": ["["]}, False),
        ({"id": ["abab"]}, True),
        ({"id": ["ba"]}, False),
        ({"label": ["tier"]}, True),
        ({"label": ["tier=front", "x"]}, True),
        ({"label": ["tier=front", "y"]}, False),
        ({"status": ["exited", "running"]}, True),
        ({"status": ["running"]}, False),
        ({"exited": ["3"]}, True),
        ({"exited": ["0"]}, False),
        ({"volume": ["vol"]}, True),
        ({"volume": ["/data"]}, True),
        ({"volume": ["other"]}, False),
        ({"network": ["bridge"]}, True),
        ({"network": ["f00"]}, True),
        ({"network": ["host"]}, False),
        ({"publish": ["8080"]}, True),
        ({"publish": ["8000-9000/tcp"]}, True),
        ({"publish": ["8080/udp"]}, False),
        ({"expose": ["80"]}, True),
        ({"expose": ["53/udp"]}, True),
        ({"expose": ["53"]}, False),
        ({"health": ["none"]}, True),
        ({"health": ["healthy"]}, False),
        ({"is-task": ["false"]}, True),
        ({"is-task": ["true"]}, False),
        ({"name": ["web"], "status": ["running"]}, False),
    ],
)
def test_filters(filters: dict[str, list[str]], expected: bool) -> None:
    chosen = Filters(filters)
    selection.check(chosen)
    assert selection.matches(record(), chosen, Resolved(network_ids={"bridge": "f00d"})) is expected


def test_before_since_and_ancestor() -> None:
    none = Filters()
    assert selection.matches(record(), none, Resolved(before_ns=101, since_ns=99))
    assert not selection.matches(record(), none, Resolved(before_ns=100))
    assert not selection.matches(record(), none, Resolved(since_ns=100))
    assert selection.matches(record(), none, Resolved(images=frozenset({"sha256:1"})))
    assert not selection.matches(record(), none, Resolved(images=frozenset()))


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        ({"colour": ["red"]}, "invalid filter 'colour'"),
        ({"status": ["asleep"]}, "invalid value for state (asleep)"),
        ({"exited": ["x"]}, 'strconv.Atoi: parsing "x": invalid syntax'),
        ({"expose": ["http"]}, "invalid containerPort: http"),
        ({"health": ["fit"]}, "unrecognised filter value for health: fit"),
    ],
)
def test_wrong_filters(filters: dict[str, list[str]], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        selection.check(Filters(filters))
    assert text in str(caught.value)


def test_filters_in_both_spellings() -> None:
    assert Filters.parse('{"label":{"a=b":true,"c":false}}') == Filters.parse('{"label":["a=b"]}')
    with pytest.raises(InvalidArgument):
        Filters.parse("[]")


@pytest.mark.parametrize(
    ("filters", "limit", "expected"),
    [
        ({}, None, True),
        ({"label": ["tier"]}, None, True),
        ({"label!": ["tier"]}, None, False),
        ({}, 100, False),
        ({}, 101, True),
    ],
)
def test_prune(filters: dict[str, list[str]], limit: int | None, expected: bool) -> None:
    assert prune.selected(record(), Filters(filters), limit) is expected
