"""Containers that share: --ipc, --pid, --link and what the others' comings and goings mean for them."""

from __future__ import annotations

import json

import pytest
from tests.compat.conftest import Client

pytestmark = pytest.mark.root

SLEEP = ("sleep", "1000")


def test_ipc_is_shared_by_those_who_offer_it(cli: Client) -> None:
    cli("run", "-d", "--name", "donor", "--ipc", "shareable", "--shm-size", "3m", "busybox", *SLEEP)
    cli("exec", "donor", "sh", "-c", "echo theirs >/dev/shm/file")
    ours = cli.out("exec", "donor", "readlink", "/proc/self/ns/ipc")
    seen = cli.out(
        "run", "--rm", "--ipc", "container:donor", "busybox", "sh", "-c",
        "cat /dev/shm/file; df -k /dev/shm | awk 'NR==2{print $2}'; readlink /proc/self/ns/ipc",
    )  # fmt: skip
    assert seen == f"theirs\n3072\n{ours}"
    # of one that has joined itself, the same
    cli("run", "-d", "--name", "second", "--ipc", "container:donor", "busybox", *SLEEP)
    assert cli.out("run", "--rm", "--ipc", "container:second", "busybox", "cat", "/dev/shm/file") == "theirs"
    # and those who stay keep it when the donor goes
    cli("rm", "-f", "donor")
    assert cli.out("exec", "second", "cat", "/dev/shm/file") == "theirs"


def test_ipc_of_others_is_their_own(cli: Client) -> None:
    cli("run", "-d", "--name", "private", "busybox", *SLEEP)
    cli("run", "-d", "--name", "covered", "--ipc", "shareable", "--tmpfs", "/dev/shm", "busybox", *SLEEP)
    cli("create", "--name", "idle", "--ipc", "shareable", "busybox", *SLEEP)
    hint = "non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
    for name in ("private", *(["covered"] if cli.kind != "reference" else [])):
        assert hint in cli.err("run", "--rm", "--ipc", f"container:{name}", "busybox", "true", code=125)
    assert "is not running" in cli.err("run", "--rm", "--ipc", "container:idle", "busybox", "true", code=125)
    assert "No such container: no" in cli.err("run", "--rm", "--ipc", "container:no", "busybox", "true", code=125)
    assert cli.out("ps", "-aq", "--filter", "status=created").count("\n") == 0
    assert cli.out("run", "--rm", "--ipc", "none", "busybox", "sh", "-c", "ls -d /dev/shm || grep -c ' /dev/shm ' "
                   "/proc/mounts", code=1) in ("0", "")  # fmt: skip


def test_a_pid_namespace_is_joined_by_name_and_kept_by_id(cli: Client) -> None:
    cli("run", "-d", "--name", "owner", "busybox", *SLEEP)
    assert "sleep 1000" in cli.out("run", "--rm", "--pid", "container:owner", "busybox", "ps")
    cli("create", "--name", "guest", "--pid", "container:owner", "busybox", "ps")
    identifier = cli.out("inspect", "-f", "{{.Id}}", "owner")
    cli("rename", "owner", "renamed")
    assert cli.out("inspect", "-f", "{{.HostConfig.PidMode}}", "guest") == f"container:{identifier}"
    assert "sleep 1000" in cli.out("start", "-a", "guest")
    cli("rm", "-f", "renamed")
    assert f"No such container: {identifier}" in cli.err("start", "guest")


def hosts(cli: Client, name: str, alias: str) -> list[str]:
    lines = cli.out("exec", name, "cat", "/etc/hosts").splitlines()
    return [line.split()[0] for line in lines if alias in line.split()[1:2]]


def address(cli: Client, name: str) -> str:
    return cli.out("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", name)


def test_a_link_follows_the_linked_container(cli: Client) -> None:
    cli("run", "-d", "--name", "web", "--expose", "80", "-e", "FOO=bar", "busybox", *SLEEP)
    cli("run", "-d", "--name", "client", "--link", "web:db", "busybox", *SLEEP)
    first = address(cli, "web")
    assert hosts(cli, "client", "db") == [first]
    environment = cli.out("exec", "client", "env").splitlines()
    wanted = {"DB_NAME=/client/db", "DB_ENV_FOO=bar", f"DB_PORT=tcp://{first}:80", f"DB_PORT_80_TCP_ADDR={first}"}
    assert wanted <= set(environment)
    cli("exec", "client", "sh", "-c", "echo 10.9.8.7 mine >>/etc/hosts")
    cli("stop", "-t", "0", "web")
    cli("run", "-d", "--name", "filler", "busybox", *SLEEP)  # takes the address
    cli("start", "web")
    moved = address(cli, "web")
    assert moved != first
    assert (hosts(cli, "client", "db"), hosts(cli, "client", "mine")) == ([moved], ["10.9.8.7"])
    cli("rename", "web", "www")
    assert json.loads(cli.out("inspect", "-f", "{{json .HostConfig.Links}}", "client")) == ["/www:/client/db"]
    assert cli.out("inspect", "-f", "{{.Name}}", "client/db") == "/www"
    assert "cannot remove the default link name" in cli.err("rm", "--link", "client")
    assert "No such container: client/no" in cli.err("rm", "--link", "client/no")
    cli("rm", "--link", "client/db")
    assert hosts(cli, "client", "db") == []
    assert cli.out("inspect", "-f", "{{json .HostConfig.Links}}", "client") == "null"


def test_a_link_needs_a_running_container_on_the_bridge(cli: Client) -> None:
    cli("create", "--name", "idle", "busybox", "true")
    cli("run", "-d", "--name", "outside", "--network", "host", "busybox", *SLEEP)
    error = cli.err("run", "--name", "client", "--link", "idle:a", "busybox", "true", code=125)
    assert "Cannot link to a non running container: /idle AS /client/a" in error
    error = cli.err("run", "--link", "no:a", "busybox", "true", code=125)
    assert "could not get container for no: No such container: no" in error
    for arguments in (["--link", "outside:a"], ["--network", "host", "--link", "idle:a"]):
        error = cli.err("create", *arguments, "busybox", "true")
        assert "conflicting options: host type networking can't be used with links" in error
