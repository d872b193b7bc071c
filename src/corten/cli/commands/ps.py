"""``ps``: the list of containers. It is the command most often typed, so it imports next to nothing."""

from __future__ import annotations

import sys

from corten.cli import listing, units
from corten.cli.listing import Layout
from corten.cli.options import Flag
from corten.client.errors import ClientError
from corten.template.row import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.cli.options import Options
    from corten.cli.session import Session

    Document = dict[str, Any]

PS_FLAGS: Final = (
    Flag("all", "a", "bool", "Show all containers (default shows just running)"),
    Flag("filter", "f", "filter", "Filter output based on conditions provided", check=listing.filter_value),
    Flag("format", "", "string", "Format output: 'table', 'table TEMPLATE', 'json' or a Go template"),
    Flag("last", "n", "int", "Show n last created containers (includes all states)", -1),
    Flag("latest", "l", "bool", "Show the latest created container (includes all states)"),
    Flag("no-trunc", "", "bool", "Don't truncate output"),
    Flag("quiet", "q", "bool", "Only display container IDs"),
    Flag("size", "s", "bool", "Display total file sizes"),
)

_COLUMNS: Final = (
    ("ID", "CONTAINER ID"), ("Image", "IMAGE"), ("Command", "COMMAND"), ("RunningFor", "CREATED"),
    ("Status", "STATUS"), ("Ports", "PORTS"), ("Names", "NAMES"),
)  # fmt: skip
_HEADERS: Final = {
    "CreatedAt": "CREATED AT", "Labels": "LABELS", "LocalVolumes": "LOCAL VOLUMES", "Mounts": "MOUNTS",
    "Networks": "NETWORKS", "Platform": "PLATFORM", "Size": "SIZE", "State": "STATE",
}  # fmt: skip
_KIND: Final = "*formatter.ContainerContext"


def ps(session: Session, given: Options, arguments: list[str]) -> int:
    """Print the list."""
    quiet, whole = given.flag("quiet"), given.flag("no-trunc")
    chosen = given.text("format")
    if not chosen and not quiet:
        chosen = session.config.text("psFormat")
    with_size = given.flag("size") or _wants_size(chosen)
    limit = given.number("last")
    if given.flag("latest") and limit == -1:
        limit = 1
    query = {
        "all": "1" if given.flag("all") else "",
        "limit": str(limit) if limit > 0 else "",
        "size": "1" if with_size else "",
        "filters": listing.filters(given.texts("filter")),
    }
    containers = session.client.get("/containers/json", query)
    rows = [row(container, whole=whole) for container in containers]
    columns = (*_COLUMNS, ("Size", "SIZE")) if given.flag("size") else _COLUMNS
    layout = Layout(_KIND, columns, "ID", _HEADERS, _raw(with_size=given.flag("size")))
    sys.stdout.write(listing.render(layout, rows, chosen, quiet=quiet))
    return 0


def _raw(*, with_size: bool) -> str:
    if not with_size:
        return _RAW
    return _RAW + "size: {{.Size}}\\n"


_RAW: Final = (
    "container_id: {{.ID}}\\nimage: {{.Image}}\\ncommand: {{.Command}}\\ncreated_at: {{.CreatedAt}}\\n"
    "state: {{- pad .State 1 0}}\\nstatus: {{- pad .Status 1 0}}\\nnames: {{.Names}}\\n"
    "labels: {{- pad .Labels 1 0}}\\nports: {{- pad .Ports 1 0}}\\n"
)


def row(container: Document, *, whole: bool) -> Row:
    """A container as the template of its list sees it; ``whole`` is ``--no-trunc``."""
    return Row(
        _KIND,
        {
            "Command": lambda: _quoted_command(container, whole=whole),
            "CreatedAt": lambda: units.moment(container["Created"]),
            "ID": lambda: container["Id"] if whole else container["Id"][:12],
            "Image": lambda: _image(container, whole=whole),
            "Labels": lambda: listing.joined_labels(container.get("Labels")),
            "LocalVolumes": lambda: str(sum(mount.get("Driver") == "local" for mount in container.get("Mounts") or ())),
            "Mounts": lambda: _mounts(container, whole=whole),
            "Names": lambda: _names(container, whole=whole),
            "Networks": lambda: ",".join(sorted((container.get("NetworkSettings") or {}).get("Networks") or {})),
            "Platform": lambda: None,
            "Ports": lambda: ports(container.get("Ports") or []),
            "RunningFor": lambda: units.ago(container["Created"]),
            "Size": lambda: _size(container),
            "State": lambda: container.get("State", ""),
            "Status": lambda: container.get("Status", ""),
        },
        {"Label": lambda name: str((container.get("Labels") or {}).get(name, ""))},
    )


def _wants_size(format_text: str) -> bool:
    """Whether a format shows sizes, which cost the engine a walk over each container's files.

    Docker finds out by executing the template once on an empty container, so its errors have texts of their own.
    """
    if format_text in ("", "json", "table", "raw") or "{{" not in format_text:
        return False
    from corten.template.engine import Template, TemplateError
    from corten.template.tokens import ParseFailure

    probe = row({"Id": "", "Created": 0, "Image": ""}, whole=True)
    asked: list[bool] = []
    fields = dict(probe.fields)

    def size() -> str:
        asked.append(True)
        return ""

    fields["Size"] = size
    try:
        Template(format_text).render(Row(_KIND, fields, probe.methods))
    except ParseFailure as error:
        raise ClientError(f"failed to parse template: {error}") from None
    except TemplateError as error:
        raise ClientError(f"failed to execute template: {error}") from None
    return bool(asked)


def _quoted_command(container: Document, *, whole: bool) -> str:
    command = container.get("Command") or ""
    text = command if whole else listing.ellipsis(command, 20)
    return '"' + "".join(_ESCAPES.get(character, character) for character in text) + '"'


_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b",
                   "\f": "\\f", "\v": "\\v", "\x1b": "\\x1b", "\0": "\\x00"}  # fmt: skip


def _image(container: Document, *, whole: bool) -> str:
    name = str(container.get("Image") or "")
    if not name:
        return "<no image>"
    if whole:
        return name
    short = listing.short_id(container.get("ImageID") or "")
    if short and short == listing.short_id(name):
        return short
    return name.partition("@")[0]


def _names(container: Document, *, whole: bool) -> str:
    names = [name.removeprefix("/") for name in container.get("Names") or ()]
    # A name with another slash is a link's alias, which only --no-trunc shows.
    return ",".join(names if whole else [name for name in names if "/" not in name])


def _mounts(container: Document, *, whole: bool) -> str:
    names = [mount.get("Name") or mount.get("Source") or "" for mount in container.get("Mounts") or ()]
    return ",".join(names if whole else [listing.ellipsis(name, 15) for name in names])


def _size(container: Document) -> str:
    writable = units.size(container.get("SizeRw") or 0, 3)
    virtual = container.get("SizeRootFs") or 0
    return f"{writable} (virtual {units.size(virtual, 3)})" if virtual > 0 else writable


def ports(published: list[Document]) -> str:
    """Ports in one cell: neighbours that are published under their own number become a range."""
    groups: dict[str, list[int]] = {}
    closed: list[str] = []
    moved: list[str] = []
    for port in sorted(
        published, key=lambda port: (port["PrivatePort"], port.get("IP", ""), port.get("PublicPort", 0), port["Type"])
    ):
        number, key, address = port["PrivatePort"], port["Type"], port.get("IP", "")
        if address:
            if port.get("PublicPort", 0) != number:
                moved.append(f"{_host_port(address, str(port.get('PublicPort', 0)))}->{number}/{key}")
                continue
            key = f"{address}/{key}"
        group = groups.setdefault(key, [number, number - 1])
        if number != group[1] + 1:
            closed.append(_group(key, group))
            groups[key] = [number, number]
        group = groups[key]
        group[1] = number
    return ", ".join([*closed, *(_group(key, group) for key, group in groups.items()), *moved])


def _group(key: str, group: list[int]) -> str:
    address, slash, protocol = key.rpartition("/")
    first, last = group
    numbers = str(first) if first == last else f"{first}-{last}"
    if slash:
        numbers = f"{_host_port(address, numbers)}->{numbers}"
    return f"{numbers}/{protocol}"


def _host_port(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
