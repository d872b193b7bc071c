"""``logs``: what a container has printed, and what it goes on to print."""

from __future__ import annotations

from corten.cli import streams
from corten.cli.options import Flag
from corten.client.errors import ClientError
from corten.client.transport import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from corten.cli.options import Options
    from corten.cli.session import Session

LOGS_FLAGS: Final = (
    Flag("details", "", "bool", "Show extra details provided to logs"),
    Flag("follow", "f", "bool", "Follow log output"),
    Flag("since", "", "string", 'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m")'),
    Flag("tail", "n", "string", "Number of lines to show from the end of the logs", "all"),
    Flag("timestamps", "t", "bool", "Show timestamps"),
    Flag("until", "", "string", 'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative ("42m")'),
)


def logs(session: Session, given: Options, arguments: list[str]) -> int:
    """Both streams on ours."""
    (name,) = arguments
    tty = bool(session.client.get(f"/containers/{quote(name)}/json")["Config"]["Tty"])
    query = {"stdout": "1", "stderr": "1", "tail": given.text("tail")}
    for flag in ("since", "until"):
        if given.text(flag):
            query[flag] = moment(given.text(flag), flag)
    for flag in ("details", "follow", "timestamps"):
        if given.flag(flag):
            query[flag] = "1"
    answer = session.client.stream("GET", f"/containers/{quote(name)}/logs", query)
    sink = streams.Sink(framed=not tty)
    for piece in answer.pieces():
        sink.feed(piece)
    return 0


def moment(text: str, flag: str) -> str:
    """A point in time as the API takes it: seconds since the epoch, from a date or from an age such as ``42m``."""
    from corten.cli.moments import to_seconds

    try:
        return to_seconds(text)
    except ClientError as error:
        raise ClientError(f'invalid value for "{flag}": {error}') from None
