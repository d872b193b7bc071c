"""What docker-py is asked, once on each engine: functions of a client that give something JSON can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import docker
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound

Step = Callable[[docker.DockerClient], Any]


def refused(action: Callable[[], Any]) -> list[str]:
    """Class and explanation of what the action raised."""
    try:
        action()
    except (APIError, ContainerError, ImageNotFound, NotFound) as exc:
        return [type(exc).__name__, str(getattr(exc, "explanation", exc))]
    return ["nothing"]


def names(members: Iterable[str]) -> dict[str, bool]:
    """The members an answer has, so that each one missing is a difference of its own."""
    return dict.fromkeys(members, True)


def run(client: docker.DockerClient) -> Any:
    return [
        client.containers.run("busybox", ["echo", "words"], remove=True).decode(),
        client.containers.run(
            "busybox", "sh -c 'echo err >&2; sleep 0.3; echo out'", remove=True, stderr=True
        ).decode(),
        refused(lambda: client.containers.run("busybox", "sh -c 'exit 3'", remove=True)),
        refused(lambda: client.containers.run("nosuch:image", "true")),
    ]


def life(client: docker.DockerClient) -> Iterator[Any]:
    container = client.containers.create("busybox", "sleep 60", name="sdk", labels={"a": "b"}, environment=["X=1"])
    yield container.status, container.name, container.labels
    container.start()
    container.reload()
    yield container.status, container.attrs["State"]["Running"]
    code, output = container.exec_run(["sh", "-c", "echo $X; exit 4"])
    yield code, output.decode()
    code, output = container.exec_run(["sh", "-c", "echo o; echo e >&2"], demux=True)
    yield code, [part.decode() for part in output]
    yield [row["Command"] for row in client.api.containers(filters={"name": "sdk"})]
    container.pause()
    container.reload()
    yield container.status
    container.unpause()
    container.rename("sdk2")
    container.kill()
    yield container.wait()
    container.reload()
    yield container.status, container.name
    yield sorted(container.attrs)
    yield sorted(container.attrs["State"])
    container.remove()
    yield refused(lambda: client.containers.get("sdk2"))


def images(client: docker.DockerClient) -> Iterator[Any]:
    image = client.images.get("busybox")
    yield image.tags, sorted(image.attrs)
    yield image.tag("sdk/other", "1")
    yield [found.tags for found in client.images.list(name="sdk/other")]
    yield sorted(image.history()[0])
    client.images.remove("sdk/other:1")
    yield refused(lambda: client.images.get("sdk/other:1"))
    yield refused(lambda: client.images.remove("nosuch"))


def volumes(client: docker.DockerClient) -> Iterator[Any]:
    volume = client.volumes.create("sdkvol", labels={"k": "v"})
    yield sorted(volume.attrs), volume.attrs["Labels"], volume.attrs["Scope"]
    yield [found.name for found in client.volumes.list(filters={"name": "sdkvol"})]
    volume.remove()
    yield refused(lambda: client.volumes.get("sdkvol"))


def networks(client: docker.DockerClient) -> Iterator[Any]:
    yield sorted(network.name for network in client.networks.list())
    bridge = client.networks.get("bridge")
    yield sorted(bridge.attrs), bridge.attrs["Driver"], bridge.attrs["Scope"]
    yield refused(lambda: client.networks.get("nosuch"))


def streams(client: docker.DockerClient) -> Iterator[Any]:
    container = client.containers.run("busybox", "sh -c 'echo a; sleep 0.2; echo b >&2'", detach=True)
    container.wait()
    yield container.logs().decode()
    yield container.logs(stdout=False).decode()
    yield b"".join(container.logs(stream=True)).decode()
    yield container.logs(tail=1).decode()
    container.remove()


def files(client: docker.DockerClient) -> Iterator[Any]:
    container = client.containers.create("busybox", "sh -c 'echo x > /made'")
    container.start()
    container.wait()
    yield sorted((row["Path"], row["Kind"]) for row in container.diff())
    bits, status = container.get_archive("/made")
    yield status["name"], status["size"], status["linkTarget"], len(b"".join(bits)) % 512
    yield refused(lambda: container.get_archive("/nosuch"))
    image = container.commit("sdkkept", "1", changes='CMD ["cat", "/made"]')
    yield client.containers.run("sdkkept:1", remove=True).decode()
    client.images.remove(image.id, force=True)
    container.remove()


def stats(client: docker.DockerClient) -> Iterator[Any]:
    container = client.containers.run("busybox", "sleep 60", detach=True)
    found = container.stats(stream=False)
    yield sorted(found)
    yield sorted(found["cpu_stats"]), sorted(found["cpu_stats"]["cpu_usage"]), sorted(found["memory_stats"])
    yield sorted(found["networks"]["eth0"]), sorted(found["pids_stats"])
    yield sorted(container.update(mem_limit="128m", memswap_limit="256m") or {})
    container.remove(force=True)


def system(client: docker.DockerClient) -> Iterator[Any]:
    yield client.ping()
    yield names(client.df())
    yield names(client.version())
    yield names(client.info())
    yield names(client.containers.prune()), names(client.volumes.prune()), names(client.networks.prune())


def about(client: docker.DockerClient) -> Iterator[Any]:
    """What the engines say of themselves and of the host, value by value."""
    info = client.info()
    info["DriverStatus"] = dict(info["DriverStatus"])
    info["Plugins"] = {kind: names(found or ()) for kind, found in info["Plugins"].items()}
    info["RegistryConfig"]["InsecureRegistryCIDRs"] = names(info["RegistryConfig"]["InsecureRegistryCIDRs"])
    yield info
    yield client.version()


STEPS: Final[dict[str, Step]] = {
    step.__name__: step for step in (run, life, images, volumes, networks, streams, files, stats, system, about)
}


def outcome(step: Step, host: str) -> Any:
    """Everything a step gives, as a list."""
    client = docker.DockerClient(base_url=host, version="1.41", timeout=30)
    try:
        found = step(client)
        return list(found) if isinstance(found, Iterator) else found
    finally:
        client.close()
