"""``volume create``, ``ls`` and ``rm``."""

from __future__ import annotations

import sys

from corten.cli import listing, units
from corten.cli.listing import Layout
from corten.cli.options import Flag
from corten.client.errors import ClientError, ResponseError
from corten.client.transport import quote
from corten.template.row import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.cli.options import Options
    from corten.cli.session import Session

CREATE_FLAGS: Final = (
    Flag("driver", "d", "string", "Specify volume driver name", "local"),
    Flag("label", "", "list", "Set metadata for a volume"),
    Flag("name", "", "string", "Specify volume name", hidden=True),
    Flag("opt", "o", "map", "Set driver specific options"),
)
LS_FLAGS: Final = (
    Flag("filter", "f", "filter", 'Provide filter values (e.g. "dangling=true")', check=listing.filter_value),
    Flag("format", "", "string", "Format output: 'table', 'table TEMPLATE', 'json' or a Go template"),
    Flag("quiet", "q", "bool", "Only display volume names"),
)
RM_FLAGS: Final = (Flag("force", "f", "bool", "Force the removal of one or more volumes"),)

_KIND: Final = "*formatter.volumeContext"
_COLUMNS: Final = (("Driver", "DRIVER"), ("Name", "VOLUME NAME"))
_HEADERS: Final = {
    "Availability": "AVAILABILITY", "Group": "GROUP", "Labels": "LABELS", "Links": "LINKS", "Mountpoint": "MOUNTPOINT",
    "Scope": "SCOPE", "Size": "SIZE", "Status": "STATUS",
}  # fmt: skip


def create(session: Session, given: Options, arguments: list[str]) -> int:
    """Create a volume and print its name."""
    name = given.text("name")
    if arguments and name:
        raise ClientError(
            "conflicting options: cannot specify a volume name through both --name and as a positional arg"
        )
    body = {
        "Driver": given.text("driver"),
        "DriverOpts": pairs(given.texts("opt")),
        "Labels": pairs(given.texts("label")),
        "Name": arguments[0] if arguments else name,
    }
    session.print(session.client.call("POST", "/volumes/create", body=body)["Name"])
    return 0


def pairs(values: list[str]) -> dict[str, str]:
    """``a=b`` words as a mapping; a word without = has an empty value."""
    return {name: value for name, _, value in (word.partition("=") for word in values)}


def ls(session: Session, given: Options, arguments: list[str]) -> int:
    """List volumes, by name."""
    query = {"filters": listing.filters(given.texts("filter"))}
    volumes = session.client.get("/volumes", query).get("Volumes") or []
    quiet = given.flag("quiet")
    chosen = given.text("format") or ("" if quiet else session.config.text("volumesFormat"))
    rows = [row(volume) for volume in sorted(volumes, key=lambda volume: listing.natural(volume["Name"]))]
    raw = "name: {{.Name}}\\ndriver: {{.Driver}}\\n"
    sys.stdout.write(listing.render(Layout(_KIND, _COLUMNS, "Name", _HEADERS, raw), rows, chosen, quiet=quiet))
    return 0


def row(volume: dict[str, Any]) -> Row:
    """A volume as the template of a list sees it."""
    usage = volume.get("UsageData")
    return Row(
        _KIND,
        {
            "Availability": lambda: "N/A",
            "Driver": lambda: volume["Driver"],
            "Group": lambda: "N/A",
            "Labels": lambda: listing.joined_labels(volume.get("Labels")),
            "Links": lambda: "N/A" if usage is None else str(usage["RefCount"]),
            "Mountpoint": lambda: volume.get("Mountpoint", ""),
            "Name": lambda: volume["Name"],
            "Scope": lambda: volume.get("Scope", ""),
            "Size": lambda: "N/A" if usage is None else units.size(usage["Size"]),
            "Status": lambda: "N/A",
        },
        {"Label": lambda name: str((volume.get("Labels") or {}).get(name, ""))},
    )


def rm(session: Session, given: Options, arguments: list[str]) -> int:
    """Remove volumes; each failure is said, the others are removed."""
    code = 0
    for name in arguments:
        try:
            session.client.call("DELETE", f"/volumes/{quote(name)}", {"force": "1" if given.flag("force") else ""})
            session.print(name)
        except ResponseError as error:
            session.complain(str(error))
            code = 1
    return code
