"""``search``: Docker's limits and filters around a registry's answer; pure but for the question itself."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from corten.api.filters import Filters
from corten.api.types.image import SearchResult
from corten.errors import InvalidArgument

_FILTERS: Final = frozenset({"is-automated", "is-official", "stars"})
_DEFAULT: Final = 25
_MOST: Final = 100


class Row(Protocol):
    """What a registry says of one repository."""

    name: str | None
    description: str | None
    star_count: int | None
    is_official: bool | None


async def search(
    limit: int | None, filters: Filters, ask: Callable[[int], Awaitable[Sequence[Row]]]
) -> list[SearchResult]:
    """What ``ask`` finds with a limit of so many, as the API has it.

    Raises:
        InvalidArgument: a limit or filter that is none, with Docker's texts.
    """
    filters.check(_FILTERS)
    automated, official = filters.flag("is-automated"), filters.flag("is-official")
    stars = max(map(_stars, filters.values("stars")), default=0)
    if not 1 <= (limit or _DEFAULT) <= _MOST:
        raise InvalidArgument(f"limit {limit} is outside the range of [1, {_MOST}]")
    if automated:
        return []  # builds by the registry itself are no more: no image is one, since Docker 25
    return [
        SearchResult(
            star_count=row.star_count or 0, is_official=bool(row.is_official), name=row.name or "",
            description=row.description or "",
        )
        for row in await ask(limit or _DEFAULT)
        if (official is None or official == bool(row.is_official)) and (row.star_count or 0) >= stars
    ]  # fmt: skip


def _stars(value: str) -> int:
    if not value.removeprefix("-").isascii() or not value.removeprefix("-").isdecimal():
        raise InvalidArgument(f"invalid filter 'stars={value}'")
    return int(value[:19])
