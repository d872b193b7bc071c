"""From an exchange to a route and back: version, refusals, errors.

Numbered as it happens:

 (1) split path and query; the path picks a route and a version
 (2) the version must lie in the window, whatever the route
 (3) parameters that Docker knows and this engine cannot honour are refused
 (4) the handler runs; what it returns is the response, what it raises is turned into one
"""

import logging
from typing import Final

from corten.api.query import Query
from corten.api.version import negotiate
from corten.engine.engine import Engine
from corten.errors import NotModified, NotSupported
from corten.server.call import Call
from corten.server.errors import document, message_of, report, status_of
from corten.server.exchange import Exchange, is_gone
from corten.server.identity import response_headers
from corten.server.reply import JSON, Reply
from corten.server.router import Route, Router, split_version

_log: Final = logging.getLogger(__name__)


class Application:
    """Answers exchanges from an engine's services."""

    __slots__ = ("_engine", "_router")

    def __init__(self, engine: Engine, router: Router) -> None:
        self._engine = engine
        self._router = router

    async def __call__(self, exchange: Exchange) -> None:
        try:
            reply = await self._dispatch(exchange)
        except Exception as exc:  # every error of a route is its response
            reply = _failure(exchange, exc)
        if reply is not None and not exchange.started:
            content = (("Content-Type", reply.content_type),) if reply.content_type else ()
            await exchange.reply(reply.status, (*content, *response_headers(), *reply.headers), reply.payload)

    async def _dispatch(self, exchange: Exchange) -> Reply | None:
        path, _, query_text = exchange.head.target.partition("?")  # (1)
        negotiate(split_version(path)[0])  # (2)
        match = self._router.find(exchange.head.method, path)
        query = Query.parse(query_text)
        _refuse(match.route, query)  # (3)
        call = Call(self._engine, exchange, negotiate(match.version), match.parameters, query)
        return await match.route.handler(call)  # (4)


def _refuse(route: Route, query: Query) -> None:
    for name in route.refused:
        if query.flag(name):
            raise NotSupported(f"the parameter {name} of {route.method} {route.pattern} is not supported yet")


def _failure(exchange: Exchange, error: Exception) -> Reply | None:
    """The response for ``error``; None when one has begun, or nobody listens."""
    if is_gone(error):
        exchange.abandon()
        return None
    report(error, f"{exchange.head.method} {exchange.head.target.partition('?')[0]}")
    if exchange.started:
        exchange.abandon()
        return None
    if isinstance(error, NotModified):
        return Reply(304)
    return Reply(status_of(error), document(message_of(error)), JSON)
