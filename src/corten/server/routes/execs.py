"""Routes of execs."""

from typing import Final

from corten.api.stream import MULTIPLEXED, RAW
from corten.api.types.exec import ExecStart
from corten.engine.streams import ExecStartOptions
from corten.errors import InvalidArgument
from corten.server.call import Call
from corten.server.reply import EMPTY, Reply, json
from corten.server.router import Route
from corten.server.routes.containers import window


async def start(call: Call) -> Reply | None:
    body = await call.optional_body(ExecStart) or ExecStart()
    if body.ConsoleSize is not None and call.at_least(42) and not body.Tty:
        raise InvalidArgument("tty is required to set console size")
    options = ExecStartOptions(
        detach=body.Detach, tty=body.Tty, console_size=body.ConsoleSize if call.at_least(42) else None
    )
    terminal = call.engine.execs.check_start(call.name, options)
    if body.Detach:
        await call.engine.execs.start(call.name, options)
        return EMPTY
    client = call.hijack(MULTIPLEXED if call.at_least(42) and not terminal else RAW)
    await call.engine.execs.start(call.name, options, client)
    return None


async def inspect(call: Call) -> Reply:
    return json(await call.engine.execs.inspect(call.name))


async def resize(call: Call) -> Reply:
    height, width = window(call)
    await call.engine.execs.resize(call.name, height, width)
    return EMPTY


ROUTES: Final = (
    Route("POST", "/exec/{name}/start", start),
    Route("POST", "/exec/{name}/resize", resize),
    Route("GET", "/exec/{name}/json", inspect),
)
