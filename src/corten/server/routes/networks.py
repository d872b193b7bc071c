"""Routes of networks; the default ones can be listed and inspected."""

from typing import Final

from corten.server.call import Call
from corten.server.reply import NO_CONTENT, Reply, json
from corten.server.router import Route


async def rows(call: Call) -> Reply:
    return call.shaped("network", await call.engine.networks.list(call.filters()))


async def inspect(call: Call) -> Reply:
    return call.shaped("network", await call.engine.networks.inspect(call.name, scope=call.query.text("scope")))


async def remove(call: Call) -> Reply:
    await call.engine.networks.remove(call.name)
    return NO_CONTENT


async def prune(call: Call) -> Reply:
    return json(await call.engine.networks.prune(call.filters()))


ROUTES: Final = (
    Route("GET", "/networks", rows),
    Route("POST", "/networks/prune", prune),
    Route("GET", "/networks/{name}", inspect, ("verbose",)),
    Route("DELETE", "/networks/{name}", remove),
)
