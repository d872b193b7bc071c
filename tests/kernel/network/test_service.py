"""The network service on a real kernel: attach, release, restart, conflicts."""

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from corten.api.filters import Filters
from corten.api.types.network import EndpointSettings, PortBinding
from corten.engine.config import EngineConfig
from corten.engine.events import EventService
from corten.engine.networks import settings
from corten.engine.networks.request import ContainerNetworkRequest
from corten.engine.networks.service import NetworkService, Sandbox
from corten.errors import CortenError, Forbidden, InvalidArgument, NoSuchNetwork, Unavailable
from corten.linux import procfs
from corten.linux.netlink import libnftables, route
from corten.linux.netlink.message import ROUTE, Connection
from tests.kernel.network.topology import HOST_ADDRESS, PATIENCE, ask_udp, get, http_server, inside, reachable, udp_echo

pytestmark = pytest.mark.root


def config(root: Path, name: str = "run") -> EngineConfig:
    return EngineConfig(data_root=str(root / "data"), exec_root=str(root / name))


def request(
    name: str, *publish: tuple[str, str, str], mode: str = "default", **more: object
) -> ContainerNetworkRequest:
    bindings: dict[str, list[PortBinding]] = {}
    for port, host_ip, host_port in publish:
        bindings.setdefault(port, []).append(PortBinding(HostIp=host_ip, HostPort=host_port))
    return ContainerNetworkRequest(
        container_id=name * 8,
        name=name,
        hostname=name,
        mode=mode,
        bindings=bindings,
        **more,  # type: ignore[arg-type]
    )


def run(root: Path, body: Callable[[NetworkService], Awaitable[None]]) -> None:
    async def main() -> None:
        service = NetworkService(config(root), EventService())
        await service.startup({})
        assert service.warnings == ()
        try:
            await body(service)
        finally:
            await service.close()

    asyncio.run(main())


def elements(root: Path) -> str:
    table = f"corten_{config(root).instance}"
    return "".join(line for line in libnftables.run(f"list table ip {table}").splitlines() if "elements" in line)


def test_attach_gives_a_network_that_works(host: int, neighbour: int, tmp_path: Path) -> None:
    async def body(service: NetworkService) -> None:
        web = request(
            "web", ("80/tcp", "", "8080"), ("53/udp", "127.0.0.1", "5353"), exposed=["443/tcp"], domainname="lan"
        )
        sandbox = await service.attach(web)
        record = sandbox.record
        assert sandbox.netns_fd is not None
        assert (record.ip, record.prefix, record.gateway) == ("172.17.0.2", 16, "172.17.0.1")
        assert record.mac == "02:42:ac:11:00:02"
        with http_server(sandbox.netns_fd, 80), udp_echo(sandbox.netns_fd, 53):
            assert await asyncio.to_thread(inside, neighbour, lambda: get(HOST_ADDRESS, 8080)) == "hello 10.77.0.2"
            assert ask_udp(host, "127.0.0.1", 5353) == b"PING"
            assert ask_udp(neighbour, HOST_ADDRESS, 5353) == b""
        shown = settings.network_settings(record, web)
        assert shown.Ports == {
            "53/udp": [PortBinding("127.0.0.1", "5353")],
            "80/tcp": [PortBinding("0.0.0.0", "8080")],
            "443/tcp": None,
        }
        assert shown.Networks["bridge"].IPAddress == shown.IPAddress == "172.17.0.2"
        network = await service.inspect("bridge")
        assert network.Containers["web" * 8].IPv4Address == "172.17.0.2/16"
        assert sandbox.files is not None
        assert sandbox.files.hosts.endswith("172.17.0.2\tweb.lan web\n")
        await service.release("web" * 8)
        sandbox.close()
        assert elements(tmp_path) == ""
        assert (await service.inspect("bridge")).Containers == {}

    run(tmp_path, body)


def test_taken_ports_are_refused_with_dockers_texts_and_nothing_is_left(host: int, tmp_path: Path) -> None:
    async def body(service: NetworkService) -> None:
        first = await service.attach(request("one", ("80/tcp", "", "8080")))
        before = elements(tmp_path)
        for clash in ("8080", "8080-8080"):
            with pytest.raises(CortenError) as refused:
                await service.attach(request("two", ("81/tcp", "", "9999"), ("80/tcp", "", clash)))
            assert str(refused.value).startswith("failed to set up container networking: driver failed programming ")
            assert " external connectivity on endpoint two (" in str(refused.value)
            assert str(refused.value).endswith("Bind for 0.0.0.0:8080 failed: port is already allocated")
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 7000))
            holder.listen()
            with pytest.raises(
                CortenError, match=r"host port for 0\.0\.0\.0:7000:172\.17\.0\.3:80/tcp: address already in use"
            ):
                await service.attach(request("two", ("81/tcp", "", "9999"), ("80/tcp", "", "7000")))
        assert elements(tmp_path) == before
        second = await service.attach(request("two", ("80/tcp", "", "8080-8090"), ("81/tcp", "", "9999")))
        assert [(p.container_port, p.host_port) for p in second.record.ports] == [(80, 8081), (81, 9999)]
        assert second.record.ip == "172.17.0.3"
        first.close()
        second.close()

    run(tmp_path, body)


def test_a_published_port_is_kept_from_host_processes(host: int, tmp_path: Path) -> None:
    async def body(service: NetworkService) -> None:
        sandbox = await service.attach(request("web", ("80/tcp", "", "8080"), ("80/udp", "", "8080")))
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as intruder, pytest.raises(OSError, match="in use"):  # noqa: PT012
                intruder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                intruder.bind(("0.0.0.0", 8080))
                intruder.listen()
        await service.release("web" * 8)
        with socket.socket() as free:
            free.bind(("0.0.0.0", 8080))
            free.listen()
        sandbox.close()

    run(tmp_path, body)


def test_publish_all_takes_different_ephemeral_ports(host: int, tmp_path: Path) -> None:
    async def body(service: NetworkService) -> None:
        sandbox = await service.attach(request("web", exposed=["80/tcp", "90-92/tcp"], publish_all=True))
        numbers = [p.host_port for p in sandbox.record.ports]
        assert len(set(numbers)) == 4
        assert all(32768 <= number <= 60999 for number in numbers)
        sandbox.close()

    run(tmp_path, body)


def test_a_hundred_ports_are_published_fast(host: int, neighbour: int, tmp_path: Path) -> None:
    async def body(service: NetworkService) -> None:
        many = request("web", *((f"{8000 + n}/tcp", "", str(8000 + n)) for n in range(100)))
        started = time.monotonic()
        sandbox = await service.attach(many)
        assert time.monotonic() - started < 0.25
        assert sandbox.netns_fd is not None
        with http_server(sandbox.netns_fd, 8099):
            assert await asyncio.to_thread(reachable, neighbour, HOST_ADDRESS, 8099, timeout=PATIENCE)
        await service.release("web" * 8)
        assert elements(tmp_path) == ""
        sandbox.close()

    run(tmp_path, body)


def test_iptables_with_a_dropping_forward_chain(host: int, neighbour: int, tmp_path: Path) -> None:
    """What dockerd and ufw set up; iptables still understands its own chain afterwards."""
    subprocess.run(["iptables", "-P", "FORWARD", "DROP"], check=True)
    subprocess.run(["iptables", "-A", "FORWARD", "-i", "br9", "-j", "ACCEPT"], check=True)

    async def body(service: NetworkService) -> None:
        interface = f"ct{config(tmp_path).instance}"
        sandbox = await service.attach(request("web", ("80/tcp", "", "8080")))
        inner = sandbox.netns_fd
        assert inner is not None
        with http_server(inner, 80), http_server(neighbour, 80):
            assert await asyncio.to_thread(reachable, neighbour, HOST_ADDRESS, 8080, timeout=PATIENCE)
            assert await asyncio.to_thread(reachable, inner, "10.77.0.2", 80, timeout=PATIENCE)
            assert not await asyncio.to_thread(reachable, neighbour, sandbox.record.ip, 80)
        sandbox.close()
        again = NetworkService(config(tmp_path), EventService())
        await again.startup({})
        await again.close()
        rules = await asyncio.to_thread(subprocess.getoutput, "iptables -S FORWARD")
        assert rules.count(f"-i {interface} -j ACCEPT") == rules.count(f"-o {interface} -j ACCEPT") == 1
        assert "-A FORWARD -i br9 -j ACCEPT" in rules

    run(tmp_path, body)


def test_modes_without_a_bridge(host: int, tmp_path: Path) -> None:
    async def body(service: NetworkService) -> None:
        plain = await service.attach(request("own", mode="host"))
        assert plain.netns_fd is None
        assert settings.network_settings(plain.record, request("own", mode="host")).Networks["host"].EndpointID
        alone = await service.attach(request("alone", mode="none"))
        assert alone.netns_fd is not None
        assert inside(alone.netns_fd, lambda: [name for _, name in socket.if_nameindex()]) == ["lo"]
        with http_server(alone.netns_fd, 80):
            assert inside(alone.netns_fd, lambda: get("127.0.0.1", 80)) == "hello 127.0.0.1"
        ticks = procfs.start_ticks(os.getpid())
        mode = "container:" + "a" * 64
        joined = await service.attach(request("guest", mode=mode, target=(os.getpid(), ticks)))
        assert joined.files is None
        assert joined.netns_fd is not None
        for sandbox in (alone, joined):
            sandbox.close()
        with pytest.raises(Unavailable, match=r"cannot join the network of process \d+: it has ended"):  # pid reuse
            await service.attach(request("fooled", mode=mode, target=(os.getpid(), ticks - 1)))
        with pytest.raises(NoSuchNetwork, match="network backend not found"):
            await service.attach(request("lost", mode="backend"))
        with pytest.raises(Forbidden, match="bridge is a pre-defined network and cannot be removed"):
            await service.remove("bridge")
        listed = await service.list(Filters({"driver": ["null"]}))
        assert [network.Name for network in listed] == ["none"]

    run(tmp_path, body)


def test_restarted_engine_takes_over_what_runs_and_drops_the_rest(host: int, neighbour: int, tmp_path: Path) -> None:
    async def main() -> None:
        first = NetworkService(config(tmp_path), EventService())
        await first.startup({})
        kept = await first.attach(request("kept", ("80/tcp", "", "8080")))
        gone = await first.attach(request("gone", ("80/tcp", "", "9090")))
        gone.close()
        await first.close()
        assert kept.netns_fd is not None
        with http_server(kept.netns_fd, 80):
            second = NetworkService(config(tmp_path), EventService())
            await second.startup({"kept" * 8: kept.record})
            assert await asyncio.to_thread(reachable, neighbour, HOST_ADDRESS, 8080, timeout=PATIENCE)
            assert "9090" not in elements(tmp_path)
            with pytest.raises(CortenError, match="port is already allocated"):
                await second.attach(request("next", ("80/tcp", "", "8080")))
            following = await second.attach(request("next", ("80/tcp", "", "9090")))
            assert following.record.ip == "172.17.0.3"
            following.close()
            await second.release("kept" * 8)
            assert not await asyncio.to_thread(reachable, neighbour, HOST_ADDRESS, 8080)
            await second.close()
        kept.close()

    asyncio.run(main())


def test_parallel_attaches_get_different_everything(host: int, tmp_path: Path) -> None:
    async def body(service: NetworkService) -> None:
        names = [f"c{number:02}" for number in range(20)]
        sandboxes = await asyncio.gather(*(service.attach(request(name, ("80/tcp", "", ""))) for name in names))
        assert len({s.record.ip for s in sandboxes}) == 20
        assert len({s.record.ports[0].host_port for s in sandboxes}) == 20
        await asyncio.gather(*(service.release(name * 8) for name in names))
        assert elements(tmp_path) == ""
        for sandbox in sandboxes:
            sandbox.close()

    run(tmp_path, body)


def test_closing_the_descriptor_is_all_it_takes_to_delete_the_interfaces(host: int, tmp_path: Path) -> None:
    async def body(service: NetworkService) -> None:
        sandbox = await service.attach(request("web"))
        assert sandbox.record.veth in _interfaces()
        await service.release("web" * 8)
        sandbox.close()
        for _ in range(50):
            if sandbox.record.veth not in _interfaces():
                return
            await asyncio.sleep(0.02)
        raise AssertionError("the interface is still there after a second")

    run(tmp_path, body)


def test_a_namespace_that_somebody_joined_loses_its_interface_after_the_release(host: int, tmp_path: Path) -> None:
    async def body(service: NetworkService) -> None:
        sandbox = await service.attach(request("web"))
        await service.release("web" * 8)
        await asyncio.sleep(1.3)
        assert sandbox.record.veth not in _interfaces()
        sandbox.close()

    run(tmp_path, body)


def test_cancelled_attach_leaves_nothing(host: int, tmp_path: Path) -> None:
    async def body(service: NetworkService) -> None:
        (await service.attach(request("web", ("80/tcp", "", "8080")))).close()
        await service.release("web" * 8)  # opens what the service keeps
        await asyncio.sleep(0.3)
        descriptors = len(os.listdir("/proc/self/fd"))
        for delay in (0, 0.0003, 0.001):
            attach = asyncio.ensure_future(service.attach(request("web", ("80/tcp", "", "8080"))))
            await asyncio.sleep(delay)
            attach.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attach
            assert elements(tmp_path) == ""
        await asyncio.sleep(0.3)
        assert len(os.listdir("/proc/self/fd")) == descriptors
        sandbox = await service.attach(request("web", ("80/tcp", "", "8080")))
        assert sandbox.record.ip == "172.17.0.2"
        sandbox.close()

    run(tmp_path, body)


def test_an_attach_that_fails_late_takes_its_ports_back(host: int, tmp_path: Path) -> None:
    async def body(service: NetworkService) -> None:
        with pytest.raises(InvalidArgument, match="add-host"):
            await service.attach(request("web", ("80/tcp", "", "8080"), extra_hosts=["nonsense"]))
        assert elements(tmp_path) == ""
        (await service.attach(request("web", ("80/tcp", "", "8080")))).close()

    run(tmp_path, body)


def test_a_deleted_table_is_made_again_with_everything_in_it(host: int, neighbour: int, tmp_path: Path) -> None:
    async def body(service: NetworkService) -> None:
        first = await service.attach(request("one", ("80/tcp", "", "8080")))
        await asyncio.to_thread(libnftables.run, "flush ruleset")
        await service.release("nobody")
        second = await service.attach(request("two", ("80/tcp", "", "9090")))
        for sandbox, port in ((first, 8080), (second, 9090)):
            assert sandbox.netns_fd is not None
            with http_server(sandbox.netns_fd, 80):
                assert await asyncio.to_thread(reachable, neighbour, HOST_ADDRESS, port, timeout=PATIENCE)
        await asyncio.to_thread(libnftables.run, "flush ruleset")
        await service.release("one" * 8)
        first.close()
        second.close()

    run(tmp_path, body)


def test_endpoint_settings_reach_the_kernel_and_inspect(host: int, tmp_path: Path) -> None:
    async def body(service: NetworkService) -> None:
        asked = request("web", endpoints={"bridge": EndpointSettings(GwPriority=3, MacAddress="02:42:AC:00:00:09")})
        sandbox: Sandbox = await service.attach(asked)
        assert sandbox.record.mac == "02:42:ac:00:00:09"
        assert sandbox.netns_fd is not None
        assert inside(sandbox.netns_fd, lambda: _macs()["eth0"]) == "02:42:ac:00:00:09"
        service.renamed("web" * 8, "other")
        assert (await service.inspect("bridge")).Containers["web" * 8].Name == "other"
        assert settings.network_settings(sandbox.record, asked).Networks["bridge"].GwPriority == 3
        sandbox.close()

    run(tmp_path, body)


def test_configured_addresses(host: int, tmp_path: Path) -> None:
    async def main() -> None:
        chosen = msgspec.structs.replace(config(tmp_path), bip="10.5.0.1/24", fixed_cidr="10.5.0.64/26", mtu=1400)
        service = NetworkService(chosen, EventService())
        await service.startup({})
        sandbox = await service.attach(request("web"))
        assert (sandbox.record.ip, sandbox.record.prefix) == ("10.5.0.64", 24)
        network = await service.inspect("bridge")
        assert network.Options["com.docker.network.driver.mtu"] == "1400"
        assert network.IPAM.Config is not None
        assert (network.IPAM.Config[0].Subnet, network.IPAM.Config[0].Gateway) == ("10.5.0.0/24", "10.5.0.1")
        sandbox.close()
        await service.close()
        for wrong, text in (
            ({"bridge": "br9", "bip": "10.5.0.1/24"}, "exclusive"),
            ({"bip": "10.5"}, "bip: 10.5 is not"),
        ):
            with pytest.raises(InvalidArgument, match=text):
                await NetworkService(msgspec.structs.replace(config(tmp_path), **wrong), EventService()).startup({})

    asyncio.run(main())


def test_without_a_bridge_the_other_networks_remain(host: int, tmp_path: Path) -> None:
    async def main() -> None:
        service = NetworkService(msgspec.structs.replace(config(tmp_path), bridge="none"), EventService())
        await service.startup({})
        assert [network.Name for network in await service.list(Filters())] == ["host", "none"]
        with pytest.raises(NoSuchNetwork):
            await service.attach(request("web"))
        await service.close()

    asyncio.run(main())


def _macs() -> dict[str, str]:
    with Connection(ROUTE) as connection:
        return {link.name: link.mac for link in route.links(connection)}


def _interfaces() -> list[str]:
    with Connection(ROUTE) as connection:
        return [link.name for link in route.links(connection)]
