"""What a version takes from a request and adds to a response."""

import pytest

from corten.api.gates import shape_create, shape_exec, shape_response
from corten.api.types.container import (
    BindOptions,
    ContainerCreate,
    HealthConfig,
    HostConfig,
    Mount,
    TmpfsOptions,
    VolumeOptions,
)  # fmt: skip
from corten.api.types.exec import ExecCreate
from corten.api.types.network import EndpointSettings, NetworkingConfig
from corten.api.version import MAXIMUM, ApiVersion
from corten.errors import InvalidArgument


def v(minor: int) -> ApiVersion:
    return ApiVersion(1, minor)


def create(version: ApiVersion, **host: object) -> HostConfig:
    body = shape_create(ContainerCreate(HostConfig=HostConfig(**host)), version)  # type: ignore[arg-type]
    assert body.HostConfig is not None
    return body.HostConfig


def test_a_body_without_host_config_gets_the_default_one():
    assert shape_create(ContainerCreate(), MAXIMUM).HostConfig == HostConfig()


def test_members_appear_with_their_version():
    assert not create(v(24), AutoRemove=True).AutoRemove
    assert create(v(25), AutoRemove=True).AutoRemove
    assert create(v(42), Annotations={"a": "b"}).Annotations is None
    assert create(v(43), Annotations={"a": "b"}).Annotations == {"a": "b"}
    assert create(v(41), ConsoleSize=(3, 4)).ConsoleSize == (0, 0)
    assert create(v(42), ConsoleSize=(3, 4)).ConsoleSize == (3, 4)
    assert create(v(39)).IpcMode == "shareable"
    assert create(v(40)).IpcMode == ""
    assert create(v(41), KernelMemory=5).KernelMemory == 5
    assert create(v(42), KernelMemory=5).KernelMemory == 0


def test_mount_options_appear_with_their_version():
    def mount(version: ApiVersion, found: Mount) -> Mount:
        mounts = create(version, Mounts=[found]).Mounts
        assert mounts is not None
        return mounts[0]

    def volume() -> Mount:
        return Mount(Type="volume", VolumeOptions=VolumeOptions(Subpath="a"))

    assert mount(v(44), volume()).VolumeOptions == VolumeOptions()
    assert mount(v(45), volume()).VolumeOptions == VolumeOptions(Subpath="a")
    bind = mount(v(41), Mount(Type="bind", ReadOnly=True, BindOptions=BindOptions(CreateMountpoint=True))).BindOptions
    assert bind == BindOptions(ReadOnlyNonRecursive=True)
    tmpfs = Mount(Type="tmpfs", TmpfsOptions=TmpfsOptions(Options=[["exec"]]))
    assert mount(v(45), tmpfs).TmpfsOptions == TmpfsOptions()


def test_options_of_another_mount_type_are_refused_since_1_42():
    wrong = Mount(Type="bind", VolumeOptions=VolumeOptions(NoCopy=True))
    create(v(41), Mounts=[wrong])
    with pytest.raises(InvalidArgument, match='VolumeOptions must not be specified on mount type "bind"'):
        create(v(42), Mounts=[wrong])


def test_several_endpoints_came_with_1_44():
    config = NetworkingConfig(EndpointsConfig={"a": EndpointSettings(), "b": EndpointSettings()})
    shape_create(ContainerCreate(NetworkingConfig=config), v(44))
    with pytest.raises(InvalidArgument, match="multiple network endpoints: a, b"):
        shape_create(ContainerCreate(NetworkingConfig=config), v(43))


def test_start_interval_came_with_1_44():
    def interval(version: ApiVersion) -> int:
        health = shape_create(ContainerCreate(Healthcheck=HealthConfig(StartInterval=7)), version).Healthcheck
        assert health is not None
        return health.StartInterval

    assert (interval(v(43)), interval(v(44))) == (0, 7)


@pytest.mark.parametrize(("given", "kept"), [(-1, None), (0, None), (5, 5), (None, None)])
def test_no_pids_limit_has_one_spelling(given, kept):
    assert create(MAXIMUM, PidsLimit=given).PidsLimit == kept


def test_console_size_of_an_exec_came_with_1_42():
    assert shape_exec(ExecCreate(ConsoleSize=(1, 2)), v(41)).ConsoleSize is None
    assert shape_exec(ExecCreate(ConsoleSize=(1, 2)), v(42)).ConsoleSize == (1, 2)


def container(**config: object) -> dict:
    endpoint = {"Aliases": None, "DNSNames": None, "GwPriority": 0}
    networks = {"n": dict(endpoint), "bridge": dict(endpoint)}
    return {"Id": "0123456789abcdef", "Config": config, "HostConfig": {}, "NetworkSettings": {"Networks": networks}}


def test_an_older_container_knows_its_short_id_on_networks_of_its_user():
    document = container()
    for _ in range(2):
        shape_response("container", document, v(43))
    assert document["NetworkSettings"]["Networks"] == {"n": {"Aliases": ["0123456789ab"]}, "bridge": {"Aliases": None}}
    assert shape_response("container", container(), MAXIMUM)["NetworkSettings"] == container()["NetworkSettings"]


def test_what_docker_leaves_out_when_it_is_empty():
    given = {"Shell": None, "MacAddress": "", "NetworkDisabled": False, "StopTimeout": 0, "Env": None, "User": ""}
    assert shape_response("container", container(**given), MAXIMUM)["Config"] == {
        "StopTimeout": 0, "Env": None, "User": "",
    }  # fmt: skip


def test_image_rows_by_version():
    def row(version: ApiVersion) -> dict[str, object]:
        document = {"RepoTags": [], "RepoDigests": [], "VirtualSize": 5, "Containers": 2}
        return shape_response("image row", document, version)

    assert row(MAXIMUM) == {"RepoTags": [], "RepoDigests": [], "Containers": 2}
    assert row(v(50)) == {"RepoTags": [], "RepoDigests": [], "Containers": -1}
    assert row(v(42)) == {
        "RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"], "VirtualSize": 5, "Containers": -1,
    }  # fmt: skip


def test_image_inspect_by_version():
    def image(version: ApiVersion) -> dict[str, object]:
        document = {"VirtualSize": 5, "Container": "", "ContainerConfig": None, "Config": {"User": "u"}}
        return shape_response("image", document, version)

    assert image(MAXIMUM) == {"Config": {"User": "u"}}
    older = image(v(49))["Config"]
    assert isinstance(older, dict)
    assert older["User"] == "u"
    assert older["Tty"] is False
    assert set(image(v(43))) == {"VirtualSize", "Container", "ContainerConfig", "Config"}
