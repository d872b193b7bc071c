"""``context ls`` and ``context show``: the engine addresses that the configuration knows by name."""

from __future__ import annotations

import sys

from corten.cli import config, listing
from corten.cli.listing import Layout
from corten.cli.options import Flag
from corten.client.errors import ClientError
from corten.template.row import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from corten.cli.options import Options
    from corten.cli.session import Session

LS_FLAGS: Final = (
    Flag("format", "", "string", "Format output: 'table', 'table TEMPLATE', 'json' or a Go template"),
    Flag("quiet", "q", "bool", "Only show context names"),
)

_KIND: Final = "*formatter.clientContextContext"
_COLUMNS: Final = (
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("DockerEndpoint", "DOCKER ENDPOINT"),
    ("Error", "ERROR"),
)
_HOST_WINS: Final = (
    "Warning: {name} environment variable overrides the active context. To use a context, either set the global "
    "--context flag, or unset {name} environment variable."
)


def ls(session: Session, given: Options, arguments: list[str]) -> int:
    """Print the list; the current context has a star in the table."""
    current = session.context_name()
    format_text = given.text("format")
    starred = format_text in ("", "table") and not given.flag("quiet")
    default = config.Context(
        config.DEFAULT_CONTEXT,
        host=session.default_host(),
        description=f"Current {session.host_variable()} based configuration",
    )
    known = [default, *config.contexts(session.config.folder)]
    rows = [_row(context, current=current, starred=starred) for context in known]
    if current not in {context.name for context in known}:
        missing = config.Context(current)
        rows.append(_row(missing, current=current, starred=starred, error=f'context "{current}" does not exist'))
    sys.stdout.write(listing.render(Layout(_KIND, _COLUMNS, "Name", {}), rows, format_text, quiet=given.flag("quiet")))
    if config.environment("HOST") and current == config.DEFAULT_CONTEXT and not session.settings.context:
        session.complain(_HOST_WINS.format(name=session.host_variable()))
    return 0


def _row(context: config.Context, *, current: str, starred: bool, error: str = "") -> Row:
    is_current = context.name == current
    values: dict[str, object] = {
        "Current": is_current,
        "Description": context.description,
        "DockerEndpoint": context.host,
        "Error": error,
        "Name": f"{context.name} *" if is_current and starred else context.name,
    }
    return Row(_KIND, {name: _constant(value) for name, value in values.items()})


def _constant(value: object) -> Callable[[], object]:
    return lambda: value


def show(session: Session, given: Options, arguments: list[str]) -> int:
    """Print the name of the current context."""
    name = session.context_name()
    if name != config.DEFAULT_CONTEXT and name not in {
        context.name for context in config.contexts(session.config.folder)
    }:
        raise ClientError(f'context "{name}" does not exist')
    session.print(name)
    return 0
