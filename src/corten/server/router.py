"""Paths to handlers: a table compiled once; pure.

Owns patterns (``/containers/{name}/json``; a name may contain slashes, as image names do) and the version prefix.
Both an unknown path and a wrong method are "page not found", as Docker answers them.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple
from urllib.parse import unquote

from corten.server.call import Call
from corten.server.errors import PageNotFoundError
from corten.server.reply import Reply

Handler = Callable[[Call], Awaitable[Reply | None]]

_PREFIX: Final = re.compile(r"/v([0-9][0-9.]*)(?=/)")
_PARAMETER: Final = re.compile(r"\{(\w+)\}")


class Route(NamedTuple):
    """One operation. ``refused`` names query parameters that Docker knows and this engine cannot honour yet."""

    method: str
    pattern: str
    handler: Handler
    refused: tuple[str, ...] = ()


class Match(NamedTuple):
    """Where a request goes: the version of its path (None without a prefix) and the path's parameters."""

    route: Route
    version: str | None
    parameters: dict[str, str]


class Router:
    """Exact paths by a dictionary, patterns by their first segment, those with more fixed text first."""

    __slots__ = ("_exact", "_patterns")

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[tuple[str, str], Route] = {}
        self._patterns: dict[tuple[str, str], list[tuple[re.Pattern[str], Route]]] = {}
        for route in routes:
            if "{" not in route.pattern:
                self._exact[route.method, route.pattern] = route
                continue
            key = (route.method, route.pattern.split("/", 2)[1])
            self._patterns.setdefault(key, []).append((_compile(route.pattern), route))
        for found in self._patterns.values():
            found.sort(key=lambda item: -len(_PARAMETER.sub("", item[1].pattern)))

    def find(self, method: str, path: str) -> Match:
        """The operation of ``path`` (percent-encoded, without a query).

        Raises:
            PageNotFoundError: there is none.
        """
        version, bare = split_version(path)
        route = self._exact.get((method, bare))
        if route is not None:
            return Match(route, version, {})
        decoded = unquote(bare)
        segment = decoded.split("/", 2)[1] if decoded.startswith("/") else ""
        for pattern, candidate in self._patterns.get((method, segment), ()):
            found = pattern.fullmatch(decoded)
            if found is not None:
                return Match(candidate, version, found.groupdict())
        raise PageNotFoundError


def split_version(path: str) -> tuple[str | None, str]:
    """``/v1.47/info`` as ``("1.47", "/info")``; no prefix gives None."""
    found = _PREFIX.match(path)
    return (found[1], path[found.end() :]) if found is not None else (None, path)


def _compile(pattern: str) -> re.Pattern[str]:
    parts = _PARAMETER.split(pattern)
    return re.compile("".join(f"(?P<{part}>.+)" if index % 2 else re.escape(part) for index, part in enumerate(parts)))
