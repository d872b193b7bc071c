"""Routes of networks; the default ones can be listed and inspected."""

from typing import Final

from corten.server.call import Call
from corten.server.reply import NO_CONTENT, Reply
from corten.server.router import Route


async def rows(call: Call) -> Reply:
    return call.shaped("network", await call.engine.networks.list(call.filters()))


async def inspect(call: Call) -> Reply:
    return call.shaped("network", await call.engine.networks.inspect(call.name, scope=call.query.text("scope")))


async def remove(call: Call) -> Reply:
    await call.engine.networks.remove(call.name)
    return NO_CONTENT


ROUTES: Final = (
    Route("GET", "/networks", rows),
    Route("GET", "/networks/{name}", inspect, ("verbose",)),
    Route("DELETE", "/networks/{name}", remove),
)
