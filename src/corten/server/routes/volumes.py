"""Routes of volumes."""

from typing import Final

from corten.api.types.volume import VolumeCreate
from corten.server.call import Call
from corten.server.reply import NO_CONTENT, Reply, json
from corten.server.router import Route


async def rows(call: Call) -> Reply:
    return json(await call.engine.volumes.list(call.filters()))


async def create(call: Call) -> Reply:
    return json(await call.engine.volumes.create(await call.body(VolumeCreate)), 201)


async def inspect(call: Call) -> Reply:
    return json(await call.engine.volumes.inspect(call.name))


async def remove(call: Call) -> Reply:
    await call.engine.volumes.remove(call.name, force=call.query.flag("force"))
    return NO_CONTENT


async def prune(call: Call) -> Reply:
    """Before 1.42 named volumes were pruned too."""
    filters = call.filters()
    if not call.at_least(42) and not filters.has("all"):
        filters = filters.having("all", "true")
    return json(await call.engine.volumes.prune(filters))


ROUTES: Final = (
    Route("GET", "/volumes", rows),
    Route("POST", "/volumes/create", create),
    Route("POST", "/volumes/prune", prune),
    Route("GET", "/volumes/{name}", inspect),
    Route("DELETE", "/volumes/{name}", remove),
)
