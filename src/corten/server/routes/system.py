"""Routes of the engine itself: ping, version, info, disk usage, login, events."""

from typing import Final

from corten.api.types.system import AuthConfig
from corten.engine.events import check_filters, check_window
from corten.server.call import Call
from corten.server.reply import JSON, TEXT, Reply, encode, json
from corten.server.router import Route

_PING: Final = (
    ("Builder-Version", "2"),
    ("Swarm", "inactive"),
    ("Cache-Control", "no-cache, no-store, must-revalidate"),
    ("Pragma", "no-cache"),
)
_PONG: Final = Reply(200, b"OK", TEXT, _PING)
#: Docker's answer to HEAD says Content-Length: 0.
_PONG_HEAD: Final = Reply(200, b"", TEXT, _PING)


async def ping(_: Call) -> Reply:
    return _PONG


async def ping_head(_: Call) -> Reply:
    return _PONG_HEAD


async def version(call: Call) -> Reply:
    return json(await call.engine.system.version())


async def info(call: Call) -> Reply:
    return call.shaped("info", await call.engine.system.info())


async def df(call: Call) -> Reply:
    """``type`` came with 1.42; before, everything was reported."""
    kinds = call.query.texts("type") if call.at_least(42) else []
    return json(await call.engine.usage.df(kinds))


async def prune_build_cache(call: Call) -> Reply:
    """There is no build cache, so nothing of it is left: ``system prune`` of every client asks."""
    call.filters()
    return json({"CachesDeleted": None, "SpaceReclaimed": 0})


async def auth(call: Call) -> Reply:
    return json(await call.engine.system.auth(await call.body(AuthConfig)))


async def events(call: Call) -> None:
    """JSON lines until ``until``, or until the client leaves."""
    since, until = call.query.timestamp("since"), call.query.timestamp("until")
    filters = call.filters()
    check_filters(filters)
    check_window(since, until, (call.query.text("since"), call.query.text("until")))
    messages = call.engine.events.subscribe(since_ns=since, until_ns=until, filters=filters)
    call.begin(JSON)
    async for message in messages:
        await call.exchange.write(encode(message) + b"\n")
    call.exchange.end()


ROUTES: Final = (
    Route("GET", "/_ping", ping),
    Route("HEAD", "/_ping", ping_head),
    Route("GET", "/version", version),
    Route("GET", "/info", info),
    Route("GET", "/system/df", df),
    Route("POST", "/build/prune", prune_build_cache),
    Route("POST", "/auth", auth),
    Route("GET", "/events", events),
)
