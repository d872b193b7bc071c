"""``commit``: an image of what a container has become."""

from __future__ import annotations

from corten.cli.commands.archives import split_name
from corten.cli.options import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from corten.cli.options import Options
    from corten.cli.session import Session

COMMIT_FLAGS: Final = (
    Flag("author", "a", "string", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
    Flag("change", "c", "list", "Apply Dockerfile instruction to the created image"),
    Flag("message", "m", "string", "Commit message"),
    Flag("pause", "p", "bool", "Pause container during commit", True),
)


def commit(session: Session, given: Options, arguments: list[str]) -> int:
    """Print the new image's id."""
    repository, tag = split_name(arguments[1]) if len(arguments) > 1 else ("", "")
    query: dict[str, str | Sequence[str]] = {
        "container": arguments[0],
        "repo": repository,
        "tag": tag,
        "comment": given.text("message"),
        "author": given.text("author"),
        "changes": given.texts("change"),
        "pause": "1" if given.flag("pause") else "0",
    }
    session.print(str(session.client.call("POST", "/commit", query)["Id"]))
    return 0
