"""Routes of containers."""

from contextlib import aclosing
from typing import Final

from corten.api.gates import shape_create, shape_exec, shape_update
from corten.api.stream import MULTIPLEXED, RAW
from corten.api.types.container import ContainerCreate, HostConfig
from corten.api.types.exec import ExecCreate, ExecCreateResponse
from corten.engine.streams import AttachOptions, LogsOptions
from corten.errors import InvalidArgument
from corten.server import websocket
from corten.server.bridge import WebSocketStream
from corten.server.call import Call
from corten.server.identity import response_headers
from corten.server.reply import EMPTY, JSON, NO_CONTENT, Reply, encode, json
from corten.server.router import Route


async def create(call: Call) -> Reply:
    body = shape_create(await call.body(ContainerCreate), call.version)
    answer = await call.engine.containers.create(
        body,
        name=call.query.text("name"),
        platform=call.query.text("platform") if call.at_least(41) else "",
    )
    return json(answer, 201)


async def rows(call: Call) -> Reply:
    found = await call.engine.containers.list(
        all=call.query.flag("all"),
        limit=call.query.number("limit") or 0,
        size=call.query.flag("size"),
        filters=call.filters(),
    )
    return call.shaped("container row", found)


async def inspect(call: Call) -> Reply:
    found = await call.engine.containers.inspect(call.name, size=call.query.flag("size"))
    return call.shaped("container", found)


async def start(call: Call) -> Reply:
    await call.engine.containers.start(call.name, detach_keys=call.query.text("detachKeys"))
    return NO_CONTENT


async def stop(call: Call) -> Reply:
    await call.engine.containers.stop(call.name, signal=_signal(call), timeout=call.query.number("t"))
    return NO_CONTENT


async def restart(call: Call) -> Reply:
    await call.engine.containers.restart(call.name, signal=_signal(call), timeout=call.query.number("t"))
    return NO_CONTENT


def _signal(call: Call) -> str:
    """``signal`` of stop and restart came with 1.42."""
    return call.query.text("signal") if call.at_least(42) else ""


async def kill(call: Call) -> Reply:
    await call.engine.containers.kill(call.name, signal=call.query.text("signal"))
    return NO_CONTENT


async def pause(call: Call) -> Reply:
    await call.engine.containers.pause(call.name)
    return NO_CONTENT


async def unpause(call: Call) -> Reply:
    await call.engine.containers.unpause(call.name)
    return NO_CONTENT


async def update(call: Call) -> Reply:
    wanted = shape_update(await call.body(HostConfig), call.version)
    return json(await call.engine.containers.update(call.name, wanted))


async def rename(call: Call) -> Reply:
    await call.engine.containers.rename(call.name, call.query.text("name"))
    return NO_CONTENT


async def remove(call: Call) -> Reply:
    await call.engine.containers.remove(
        call.name,
        force=call.query.flag("force"),
        volumes=call.query.flag("v"),
        link=call.query.flag("link"),
    )
    return NO_CONTENT


async def wait(call: Call) -> Reply | None:
    """The head is sent once the waiter is registered: clients start the container only after they have read it."""
    waiter = await call.engine.containers.wait(call.name, condition=call.query.text("condition"))
    if not call.at_least(30):
        call.exchange.follow_client()
        return json({"StatusCode": (await waiter)[0]})
    call.begin(JSON)
    code, error = await waiter
    answer: dict[str, object] = {"StatusCode": code}
    if error is not None:
        answer["Error"] = {"Message": error}
    await call.exchange.write(encode(answer) + b"\n")
    call.exchange.end()
    return None


async def top(call: Call) -> Reply:
    return json(await call.engine.containers.top(call.name, call.query.text("ps_args")))


async def stats(call: Call) -> None:
    one_shot = call.query.flag("one-shot") and call.at_least(41)
    lines = call.engine.containers.stats(call.name, stream=call.query.flag("stream", default=True), one_shot=one_shot)
    call.begin(JSON)
    async with aclosing(lines):  # a client that leaves is no longer measured for
        async for line in lines:
            await call.exchange.write(line)
    call.exchange.end()


async def resize(call: Call) -> Reply:
    height, width = window(call)
    await call.engine.containers.resize(call.name, height, width)
    return EMPTY


def window(call: Call) -> tuple[int, int]:
    """``h`` and ``w`` of a resize: numbers of at most 16 bits (ioctl_tty(2), TIOCSWINSZ)."""
    height, width = call.query.number("h"), call.query.number("w")
    if height is None or width is None or not (0 <= height < 65536 and 0 <= width < 65536):
        raise InvalidArgument("invalid size of the terminal: h and w must be numbers from 0 to 65535")
    return height, width


async def prune(call: Call) -> Reply:
    return json(await call.engine.containers.prune(call.filters()))


async def logs(call: Call) -> None:
    options = LogsOptions(
        stdout=call.query.flag("stdout"),
        stderr=call.query.flag("stderr"),
        follow=call.query.flag("follow"),
        timestamps=call.query.flag("timestamps"),
        details=call.query.flag("details"),
        since_ns=call.query.timestamp("since") or 0,
        until_ns=call.query.timestamp("until") or 0,
        tail=_tail(call.query.text("tail")),
    )
    if not (options.stdout or options.stderr):
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    terminal = call.engine.containers.check_logs(call.name, options)
    chunks = call.engine.containers.logs(call.name, options)
    call.begin(_stream_type(call, terminal=terminal))
    async for chunk in chunks:
        await call.exchange.write(chunk)
    call.exchange.end()


def _tail(text: str) -> int:
    """What is no number is all, as is a negative one."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else -1


def _stream_type(call: Call, *, terminal: bool) -> str:
    return MULTIPLEXED if call.at_least(42) and not terminal else RAW


async def attach(call: Call) -> None:
    options = AttachOptions(
        stdin=call.query.flag("stdin"),
        stdout=call.query.flag("stdout"),
        stderr=call.query.flag("stderr"),
        stream=call.query.flag("stream"),
        logs=call.query.flag("logs"),
        detach_keys=call.query.text("detachKeys"),
    )
    await call.exchange.body.read(0)
    terminal = call.engine.containers.check_attach(call.name, options)
    client = call.hijack(_stream_type(call, terminal=terminal))
    await call.engine.containers.attach(call.name, options, client)


async def attach_ws(call: Call) -> Reply | None:
    """As attach, in frames of RFC 6455. Before 1.42 every stream is attached, before 1.28 output comes as text."""
    chosen = call.at_least(42)
    options = AttachOptions(
        stdin=call.query.flag("stdin") if chosen else True,
        stdout=call.query.flag("stdout") if chosen else True,
        stderr=call.query.flag("stderr") if chosen else True,
        stream=call.query.flag("stream"),
        logs=call.query.flag("logs"),
        detach_keys=call.query.text("detachKeys"),
        multiplexed=False,
    )
    await call.exchange.body.read(0)
    call.engine.containers.check_attach(call.name, options)
    try:
        fields = websocket.accept(call.exchange.head.upgrade, call.exchange.head.headers)
    except websocket.VersionError as exc:
        return json({"message": str(exc)}, 400)._replace(headers=exc.headers)
    client = WebSocketStream(call.exchange, [*fields, *response_headers()], binary=call.at_least(28))
    await call.engine.containers.attach(call.name, options, client)
    return None


async def exec_create(call: Call) -> Reply:
    body = shape_exec(await call.body(ExecCreate), call.version)
    return json(ExecCreateResponse(Id=await call.engine.execs.create(call.name, body)), 201)


ROUTES: Final = (
    Route("GET", "/containers/json", rows),
    Route("POST", "/containers/create", create),
    Route("POST", "/containers/prune", prune),
    Route("GET", "/containers/{name}/json", inspect),
    Route("GET", "/containers/{name}/top", top),
    Route("GET", "/containers/{name}/stats", stats),
    Route("GET", "/containers/{name}/logs", logs),
    Route("POST", "/containers/{name}/start", start, ("checkpoint", "checkpoint-dir")),
    Route("POST", "/containers/{name}/stop", stop),
    Route("POST", "/containers/{name}/restart", restart),
    Route("POST", "/containers/{name}/kill", kill),
    Route("POST", "/containers/{name}/pause", pause),
    Route("POST", "/containers/{name}/unpause", unpause),
    Route("POST", "/containers/{name}/update", update),
    Route("POST", "/containers/{name}/rename", rename),
    Route("POST", "/containers/{name}/wait", wait),
    Route("POST", "/containers/{name}/resize", resize),
    Route("POST", "/containers/{name}/attach", attach),
    Route("GET", "/containers/{name}/attach/ws", attach_ws),
    Route("POST", "/containers/{name}/exec", exec_create),
    Route("DELETE", "/containers/{name}", remove),
)
