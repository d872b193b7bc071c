"""``export`` and ``diff``: a container's files as a tar, and what it changed of its image's."""

from __future__ import annotations

import sys

from corten.cli.commands.archives import check_target, save_to, write_all
from corten.cli.options import Flag
from corten.client.errors import ClientError
from corten.client.transport import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from corten.cli.options import Options
    from corten.cli.session import Session

_LETTERS: Final = {0: "C", 1: "A", 2: "D"}

EXPORT_FLAGS: Final = (Flag("output", "o", "string", "Write to a file, instead of STDOUT"),)
DIFF_FLAGS: Final = ()


def export(session: Session, given: Options, arguments: list[str]) -> int:
    """Write the tar to a file or to standard output, which may be no terminal."""
    place = given.text("output")
    if not place and sys.stdout.isatty():
        raise ClientError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    if place:
        check_target(place, "failed to export container")
    response = session.client.stream("GET", f"/containers/{quote(arguments[0])}/export")
    if place:
        save_to(place, response.pieces(), "failed to export container")
        return 0
    for piece in response.pieces():
        write_all(1, piece)
    return 0


def diff(session: Session, given: Options, arguments: list[str]) -> int:
    """One line for each path: A added, C changed, D deleted."""
    if not arguments[0]:
        raise ClientError("Container name cannot be empty")
    for change in session.client.get(f"/containers/{quote(arguments[0])}/changes") or ():
        session.print(f"{_LETTERS[change['Kind']]} {change['Path']}")
    return 0
