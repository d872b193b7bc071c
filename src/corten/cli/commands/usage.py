"""``system df``: what images, containers, volumes and the build cache take on disk."""

from __future__ import annotations

import sys

from corten.cli import listing, table, units
from corten.cli.commands import images, ps, volumes
from corten.cli.listing import Layout
from corten.cli.options import Flag
from corten.client.errors import ClientError
from corten.template.row import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.cli.options import Options
    from corten.cli.session import Session
    from corten.template.row import Field

    Document = dict[str, Any]

DF_FLAGS: Final = (
    Flag("format", "", "string", "Format output: 'table', 'table TEMPLATE', 'json' or a Go template"),
    Flag("verbose", "v", "bool", "Show detailed information on space usage"),
)

_COLUMNS: Final = (
    ("Type", "TYPE"), ("TotalCount", "TOTAL"), ("Active", "ACTIVE"), ("Size", "SIZE"), ("Reclaimable", "RECLAIMABLE"),
)  # fmt: skip
_PARTS: Final = (
    ("Layers", "Unpacked layers"), ("Blobs", "Blobs and downloads"), ("InitLayers", "Init layers"),
    ("Database", "Database"), ("Leftovers", "Everything else"),
)  # fmt: skip
_LAYOUT: Final = Layout("*formatter.diskUsageContext", _COLUMNS, "Type", {})


def df(session: Session, given: Options, arguments: list[str]) -> int:
    """Print the summary, or with -v every object."""
    chosen = given.text("format")
    if given.flag("verbose") and chosen:
        raise ClientError("the verbose listing has no format: use --format without --verbose")
    usage = session.client.get("/system/df")
    if given.flag("verbose"):
        sys.stdout.write(_verbose(usage))
        return 0
    rows = [_images(usage), _containers(usage), _volumes(usage), _cache(usage)]
    sys.stdout.write(listing.render(_LAYOUT, rows, chosen, quiet=False))
    return 0


def _row(kind: str, total: int, active: int, size: str, reclaimable: str) -> Row:
    cells = {"Active": str(active), "Reclaimable": reclaimable, "Size": size, "TotalCount": str(total), "Type": kind}
    return Row("*formatter.diskUsageContext", {name: _constant(text) for name, text in cells.items()})


def _constant(text: str) -> Field:
    return lambda: text


def _share(part: int, whole: int) -> str:
    return f"{units.size(part)} ({part * 100 // whole}%)" if whole > 0 else units.size(part)


def _images(usage: Document) -> Row:
    found = usage.get("Images") or []
    total = usage.get("LayersSize") or 0
    used = sum(image["Size"] - max(image.get("SharedSize", 0), 0) for image in found if image.get("Containers", 0) > 0)
    in_use = sum(image.get("Containers", 0) > 0 for image in found)
    return _row("Images", len(found), in_use, units.size(total), _share(max(0, total - used), total))


def _containers(usage: Document) -> Row:
    found = usage.get("Containers") or []
    total = sum(container.get("SizeRw") or 0 for container in found)
    live = ("running", "paused", "restarting")
    free = sum(container.get("SizeRw") or 0 for container in found if container.get("State") not in live)
    active = sum(container.get("State") in live for container in found)
    return _row("Containers", len(found), active, units.size(total), _share(free, total))


def _volumes(usage: Document) -> Row:
    found = usage.get("Volumes") or []
    sizes = [(volume.get("UsageData") or {"Size": 0, "RefCount": 0}) for volume in found]
    total = sum(max(0, item["Size"]) for item in sizes)
    free = sum(max(0, item["Size"]) for item in sizes if item["RefCount"] == 0)
    active = sum(item["RefCount"] > 0 for item in sizes)
    return _row("Local Volumes", len(found), active, units.size(total), _share(free, total))


def _cache(usage: Document) -> Row:
    found = usage.get("BuildCache") or []
    total = sum(item.get("Size", 0) for item in found if not item.get("Shared"))
    free = sum(item.get("Size", 0) for item in found if not item.get("InUse") and not item.get("Shared"))
    active = sum(bool(item.get("InUse")) for item in found)
    return _row("Build Cache", len(found), active, units.size(total), units.size(free))


def _verbose(usage: Document) -> str:
    shown = [
        images.image_row(image, names, whole=False)
        for image in usage.get("Images") or []
        for names in images.names_of(image, with_digests=False, digests=False)[:1]
    ]
    containers = [ps.row(container | {"SizeRootFs": 0}, whole=False) for container in usage.get("Containers") or []]
    kept = [volumes.row(volume) for volume in usage.get("Volumes") or []]
    cache = usage.get("BuildCache") or []
    total = sum(item.get("Size", 0) for item in cache if not item.get("Shared"))
    return "".join((
        "Images space usage:\n\n",
        _table(shown, (("Repository", "REPOSITORY"), ("Tag", "TAG"), ("ID", "IMAGE ID"), ("CreatedSince", "CREATED"),
                       ("Size", "SIZE"), ("SharedSize", "SHARED SIZE"), ("UniqueSize", "UNIQUE SIZE"),
                       ("Containers", "CONTAINERS"))),
        "\nContainers space usage:\n\n",
        _table(containers, (("ID", "CONTAINER ID"), ("Image", "IMAGE"), ("Command", "COMMAND"),
                            ("LocalVolumes", "LOCAL VOLUMES"), ("Size", "SIZE"), ("RunningFor", "CREATED"),
                            ("Status", "STATUS"), ("Names", "NAMES"))),
        "\nLocal Volumes space usage:\n\n",
        _table(kept, (("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE"))),
        f"\nBuild cache usage: {units.size(total)}\n\n",
        _cache_table(cache),
        _data_root(usage.get("DataRoot")),
    ))  # fmt: skip


def _data_root(parts: Document | None) -> str:
    """What the images' total consists of; Docker's engine does not say."""
    if not parts:
        return ""
    rows = [[title, units.size(parts.get(key, 0))] for key, title in _PARTS]
    return "\nData root usage besides containers and volumes:\n\n" + table.of_rows([["WHAT", "SIZE"], *rows])


def _table(rows: list[Row], columns: tuple[tuple[str, str], ...]) -> str:
    cells = [[row.text(name) for name, _ in columns] for row in rows]
    return table.of_rows([[header for _, header in columns], *cells])


def _cache_table(items: list[Document]) -> str:
    headers = ["CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED"]
    return table.of_rows([headers, *(_cache_row(item) for item in items)])


def _cache_row(item: Document) -> list[str]:
    return [
        item["ID"][:12] + ("*" if item.get("InUse") else ""),
        item.get("Type", ""),
        units.size(item.get("Size", 0)),
        _since(item.get("CreatedAt")),
        _since(item.get("LastUsedAt")),
        str(item.get("UsageCount", 0)),
        "true" if item.get("Shared") else "false",
    ]


def _since(moment: str | None) -> str:
    parsed = units.parse_time(moment) if moment else None
    return units.ago(parsed[0]) if parsed else ""
