"""Routes over a fake engine: what HTTP says of a service's answers and errors."""

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from corten.api.types.container import ContainerCreate, ContainerCreateResponse
from corten.api.types.events import Actor, EventMessage
from corten.errors import Conflict, NoSuchContainer, NotModified
from corten.server.application import Application
from corten.server.router import Router
from corten.server.routes import ROUTES
from tests.unit.server.peer import Peer, connected, settled

pytestmark = pytest.mark.asyncio


def application(**services: Any) -> Application:
    return Application(SimpleNamespace(**services), Router(ROUTES))  # type: ignore[arg-type]


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> str:
        return json.loads(self.body)["message"]


async def ask(peer: Peer, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    lines = [f"{method} {path} HTTP/1.1", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    await peer.send("\r\n".join([*lines, "", ""]).encode() + body)
    head, _, rest = (await peer.rest()).partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    found = dict(field.split(": ", 1) for field in fields)
    return Answer(int(first.split()[1]), found, _joined(rest) if "Transfer-Encoding" in found else rest)


def _joined(wire: bytes) -> bytes:
    body = b""
    while wire:
        size, _, wire = wire.partition(b"\r\n")
        count = int(size, 16)
        body, wire = body + wire[:count], wire[count + 2 :]
    return body


async def call(app: Application, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    async with connected(app) as peer:
        return await ask(peer, method, path, body, **headers)


async def test_ping_says_who_answers():
    for method, body in (("GET", b"OK"), ("HEAD", b"")):
        answer = await call(application(), method, "/_ping")
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["Api-Version"] == "1.51"
        assert answer.headers["Builder-Version"] == "2"
        assert answer.headers["Ostype"] == "linux"
        assert answer.headers["Docker-Experimental"] == "false"
        assert answer.headers["Swarm"] == "inactive"
        assert answer.headers["Cache-Control"] == "no-cache, no-store, must-revalidate"
        assert answer.headers["Pragma"] == "no-cache"
        assert answer.headers["Server"].startswith("Docker/")
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_an_unknown_path_is_dockers_404_with_all_headers():
    answer = await call(application(), "GET", "/v1.40/nothing")
    assert (answer.status, answer.message) == (404, "page not found")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Api-Version"] == "1.51"


@pytest.mark.parametrize("path", ["/v1.99/info", "/v1.99/_ping", "/v1.99/nothing"])
async def test_a_version_outside_the_window_is_told_first(path):
    answer = await call(application(), "GET", path)
    assert (answer.status, answer.message) == (
        400,
        "client version 1.99 is too new. Maximum supported API version is 1.51",
    )


@pytest.mark.parametrize(
    ("error", "status"),
    [(NoSuchContainer("x"), 404), (Conflict("busy"), 409), (ValueError("defect"), 500)],
)
async def test_errors_become_messages(error, status):
    async def inspect(*_: Any, **__: Any) -> None:
        raise error

    answer = await call(application(containers=SimpleNamespace(inspect=inspect)), "GET", "/containers/x/json")
    assert answer.status == status
    assert str(error) in answer.message


async def test_not_modified_has_no_body():
    async def start(*_: Any, **__: Any) -> None:
        raise NotModified("runs already")

    answer = await call(application(containers=SimpleNamespace(start=start)), "POST", "/containers/x/start")
    assert (answer.status, answer.body) == (304, b"")


async def test_what_comes_later_says_so():
    answer = await call(application(), "POST", "/v1.50/networks/create")
    assert (answer.status, answer.message) == (501, "POST /networks/create is not supported yet")
    answer = await call(application(), "GET", "/v1.50/swarm")
    assert answer.status == 503
    assert answer.message.startswith("This node is not a swarm manager. Use")
    answer = await call(application(), "GET", "/plugins")
    assert (answer.status, answer.body) == (200, b"[]\n")


async def test_a_known_parameter_that_is_not_supported_is_refused_and_an_unknown_one_ignored():
    async def rows(**_: Any) -> list[Any]:
        return []

    app = application(images=SimpleNamespace(list=rows))
    refused = await call(app, "GET", "/images/json?manifests=1")
    assert refused.status == 501
    assert "manifests" in refused.message
    assert (await call(app, "GET", "/images/json?manifests=0&nonsense=1")).body == b"[]\n"


class Containers:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}
        self.waiter: asyncio.Future[tuple[int, str | None]] = asyncio.get_running_loop().create_future()

    async def create(self, body: ContainerCreate, **options: Any) -> ContainerCreateResponse:
        self.seen = {"body": body, **options}
        return ContainerCreateResponse(Id="abc", Warnings=[])

    async def list(self, **options: Any) -> list[Any]:
        self.seen = options
        return []

    async def stop(self, ref: str, **options: Any) -> None:
        self.seen = {"ref": ref, **options}

    async def wait(self, ref: str, **options: Any) -> "asyncio.Future[tuple[int, str | None]]":
        self.seen = {"ref": ref, **options}
        return self.waiter


async def test_create_passes_the_shaped_body_on():
    containers = Containers()
    app = application(containers=containers)
    answer = await call(
        app, "POST", "/v1.24/containers/create?name=n&platform=linux/amd64",
        b'{"image":"x","HostConfig":{"AutoRemove":true}}', Content_Type="application/json",
    )  # fmt: skip
    assert (answer.status, json.loads(answer.body)) == (201, {"Id": "abc", "Warnings": []})
    assert containers.seen["name"] == "n"
    assert containers.seen["platform"] == ""
    assert containers.seen["body"].Image == "x"
    assert not containers.seen["body"].HostConfig.AutoRemove


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (b"{}", "text/plain", "unsupported Content-Type header (text/plain): must be 'application/json'"),
        (b"{}", "", "unsupported Content-Type header (): must be 'application/json'"),
        (b"", "application/json", "invalid JSON: got EOF while reading request body"),
        (b"{", "application/json", "invalid JSON: "),
        (b'{"HostConfig":{"Memory":"1"}}', "application/json", "invalid JSON: "),
    ],
)
async def test_a_bad_body_is_refused_before_any_service(body, content_type, text):
    headers = {"Content_Type": content_type} if content_type else {}
    answer = await call(application(), "POST", "/containers/create", body, **headers)
    assert answer.status == 400
    assert answer.message.startswith(text)


async def test_a_body_too_large_is_413():
    async with connected(application()) as peer:
        await peer.send(
            b"POST /containers/create HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9000000\r\n\r\n"
        )
        sending = asyncio.create_task(peer.send(b" " * 9_000_000))
        assert (await peer.rest()).startswith(b"HTTP/1.1 413")
        await asyncio.gather(sending, return_exceptions=True)


async def test_list_reads_its_parameters():
    containers = Containers()
    await call(application(containers=containers), "GET", '/containers/json?all=True&limit=3&filters={"a":{"b":true}}')
    assert (containers.seen["all"], containers.seen["limit"], containers.seen["size"]) == (True, 3, False)
    assert containers.seen["filters"].values("a") == ["b"]


async def test_the_signal_of_stop_came_with_1_42():
    containers = Containers()
    app = application(containers=containers)
    assert (await call(app, "POST", "/v1.41/containers/x/stop?signal=INT&t=0")).status == 204
    assert containers.seen == {"ref": "x", "signal": "", "timeout": 0}
    await call(app, "POST", "/v1.42/containers/x/stop?signal=INT")
    assert containers.seen == {"ref": "x", "signal": "INT", "timeout": None}
    assert (await call(app, "POST", "/containers/x/stop?t=ten")).status == 400


async def test_wait_sends_its_head_at_once_and_its_body_at_the_end():
    containers = Containers()
    async with connected(application(containers=containers)) as peer:
        await peer.send(b"POST /v1.50/containers/x/wait?condition=removed HTTP/1.1\r\n\r\n")
        assert (await peer.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        containers.waiter.set_result((3, "removal failed"))
        assert b'{"StatusCode":3,"Error":{"Message":"removal failed"}}' in await peer.until(b"0\r\n\r\n")
    assert containers.seen == {"ref": "x", "condition": "removed"}


async def test_a_client_that_leaves_gives_its_waiter_up():
    containers = Containers()
    async with connected(application(containers=containers)) as peer:
        await peer.send(b"POST /v1.50/containers/x/wait HTTP/1.1\r\n\r\n")
        await peer.until(b"\r\n\r\n")
        peer.close()
        await settled(containers.waiter.cancelled)


class Images:
    """Pulls, pushes and loads by script."""

    def __init__(self, *, fail_at: int = -1) -> None:
        self.fail_at = fail_at
        self.seen: dict[str, Any] = {}

    async def _say(self, progress: Any) -> None:
        for step in range(3):
            if step == self.fail_at:
                raise NoSuchContainer("registry")
            await progress({"status": str(step)})

    async def pull(self, name: str, tag: str, *, progress: Any, **options: Any) -> None:
        self.seen = {"name": name, "tag": tag, **options}
        await self._say(progress)

    async def load(self, stream: AsyncIterator[bytes], *, progress: Any, **options: Any) -> None:
        self.seen = {"size": sum([len(piece) async for piece in stream]), **options}
        await self._say(progress)

    async def save(self, names: list[str], sink: Any, **options: Any) -> None:
        self.seen = {"names": names, **options}
        if self.fail_at == 0:
            raise NoSuchContainer("x")
        await sink(b"one")
        await sink(b"two")


async def test_progress_is_json_lines():
    images = Images()
    answer = await call(application(images=images), "POST", "/images/create?fromImage=a/b&tag=1&platform=linux/arm64")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body == b'{"status":"0"}\r\n{"status":"1"}\r\n{"status":"2"}\r\n'
    assert images.seen == {"name": "a/b", "tag": "1", "platform": "linux/arm64", "auth": None}


async def test_an_error_before_the_first_message_is_a_plain_one():
    answer = await call(application(images=Images(fail_at=0)), "POST", "/images/create?fromImage=a")
    assert (answer.status, answer.message) == (404, "No such container: registry")


async def test_an_error_after_the_first_message_is_the_last_message():
    answer = await call(application(images=Images(fail_at=2)), "POST", "/images/create?fromImage=a")
    assert answer.status == 200
    assert json.loads(answer.body.splitlines()[-1]) == {
        "errorDetail": {"message": "No such container: registry"},
        "error": "No such container: registry",
    }


async def test_load_streams_its_body():
    images = Images()
    answer = await call(application(images=images), "POST", "/images/load?quiet=1", b"x" * 300_000)
    assert answer.status == 200
    assert images.seen == {"size": 300_000, "quiet": True, "platform": ""}


async def test_save_streams_its_answer_or_says_why_not():
    images = Images()
    answer = await call(application(images=images), "GET", "/images/get?names=a&names=b%2Fc:1")
    assert (answer.body, answer.headers["Content-Type"]) == (b"onetwo", "application/x-tar")
    assert images.seen["names"] == ["a", "b/c:1"]
    assert (await call(application(images=Images(fail_at=0)), "GET", "/images/x/get")).status == 404


@pytest.mark.parametrize(
    ("platform", "status"),
    [('{"os":"linux","architecture":"arm","variant":"v7"}', 200), ("linux/amd64", 400), ('{"os":"linux"}', 400)],
)
async def test_platforms_of_archives_are_json(platform, status):
    images = Images()
    path = "/images/load?platform=" + platform.replace('"', "%22")
    answer = await call(application(images=images), "POST", path)
    assert answer.status == status
    if status == 200:
        assert images.seen["platform"] == "linux/arm/v7"


class Events:
    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}

    async def subscribe(self, **options: Any) -> AsyncIterator[EventMessage]:
        self.seen = options
        yield EventMessage(Type="container", Action="start", Actor=Actor(ID="x"), time=1, timeNano=10**9)
        await asyncio.sleep(60)


async def test_events_come_as_they_happen():
    events = Events()
    async with connected(application(events=events)) as peer:
        await peer.send(b"GET /events?since=1.5 HTTP/1.1\r\n\r\n")
        data = await peer.until(b"}\n\r\n")
        assert b'"Action":"start"' in data
    assert events.seen["since_ns"] == 1_500_000_000


async def test_a_bad_events_filter_is_refused_before_the_head():
    answer = await call(application(events=Events()), "GET", '/events?filters={"nonsense":["1"]}')
    assert (answer.status, answer.message) == (400, "invalid filter 'nonsense'")


async def test_logs_need_a_stream():
    answer = await call(application(), "GET", "/containers/x/logs?follow=1")
    assert (answer.status, answer.message) == (400, "Bad parameters: you must choose at least one stream")


@pytest.mark.parametrize(
    ("version", "terminal", "kind"),
    [("1.41", False, "raw"), ("1.42", False, "multiplexed"), ("1.42", True, "raw")],
)
async def test_the_content_type_of_attach_tells_raw_from_multiplexed(version, terminal, kind):
    class Attachable:
        def check_attach(self, ref: str, options: Any) -> bool:
            assert (ref, options.stdin, options.stdout, options.detach_keys) == ("x", True, False, "ctrl-a")
            return terminal

        async def attach(self, ref: str, options: Any, client: Any) -> None:
            descriptor, early = await client.detach()
            assert early == b""
            import os

            os.close(descriptor)

    answer = await call(
        application(containers=Attachable()), "POST",
        f"/v{version}/containers/x/attach?stream=1&stdin=1&detachKeys=ctrl-a", Upgrade="tcp",
    )  # fmt: skip
    assert answer.headers["Content-Type"] == f"application/vnd.docker.{kind}-stream"


async def test_an_exec_that_cannot_start_is_a_plain_error_although_upgraded():
    class Execs:
        def check_start(self, ref: str, options: Any) -> bool:
            raise Conflict("exec command x is already running")

    async with connected(application(execs=Execs())) as peer:
        await peer.send(
            b"POST /exec/x/start HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\n"
            b"Content-Length: 2\r\n\r\n{}"
        )
        assert (await peer.until(b"}\n")).startswith(b"HTTP/1.1 409")
        peer.half_close()
        assert await peer.rest() == b""
