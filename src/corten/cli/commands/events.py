"""``events``: what happens in the engine, line by line as it happens."""

from __future__ import annotations

import sys
import time

from corten.cli import listing, moments
from corten.cli.options import Flag
from corten.cli.session import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from corten.cli.options import Options
    from corten.cli.session import Session

EVENTS_FLAGS: Final = (
    Flag("filter", "f", "filter", "Filter output based on conditions provided", check=listing.filter_value),
    Flag("format", "", "string", "Format output: 'json' or a Go template"),
    Flag("since", "", "string", "Show all events created since timestamp"),
    Flag("until", "", "string", "Stream events until this timestamp"),
)


def events(session: Session, given: Options, arguments: list[str]) -> int:
    """Print events until the given time, the engine's end or an interrupt."""
    show = _formatter(given.text("format"))
    query = {
        "since": moments.to_seconds(given.text("since")) if given.text("since") else "",
        "until": moments.to_seconds(given.text("until")) if given.text("until") else "",
        "filters": listing.filters(given.texts("filter")),
    }
    for event in session.client.documents("GET", "/events", query):
        sys.stdout.write(show(event) + "\n")
        sys.stdout.flush()
    return 0


def _formatter(chosen: str) -> Callable[[dict[str, Any]], str]:
    if not chosen:
        return _line
    from corten.template.engine import Template, TemplateError
    from corten.template.tokens import ParseFailure
    from corten.template.values import EVENT, Struct

    try:
        template = Template("{{json .}}" if chosen == "json" else chosen)
    except ParseFailure as error:
        raise CommandFailed(f"Error parsing format: {error}", 64) from None

    def show(event: dict[str, Any]) -> str:
        try:
            return template.render(Struct(event, EVENT))
        except TemplateError as error:
            raise CommandFailed(f"Error parsing format: {error}", 64) from None

    return show


def _line(event: dict[str, Any]) -> str:
    """``2026-11-24T05:08:20.071094546Z container create ID (image=busybox, name=t1)``, in the user's time zone."""
    nanoseconds = event.get("timeNano") or event.get("time", 0) * 10**9
    local = time.localtime(nanoseconds // 10**9)
    zone = time.strftime("%z", local)
    shown = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    moment = f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{nanoseconds % 10**9:09d}{shown}"
    actor = event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    text = f"{moment} {event.get('Type', '')} {event.get('Action', '')} {actor.get('ID', '')}"
    if attributes:
        text += f" ({', '.join(f'{key}={attributes[key]}' for key in sorted(attributes))})"
    return text
