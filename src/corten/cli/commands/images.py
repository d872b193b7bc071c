"""Images as lists, and what is done to their names: ``images``, ``history``, ``rmi``, ``tag``."""

from __future__ import annotations

import sys

from corten.cli import listing, units
from corten.cli.listing import Layout
from corten.cli.options import Flag
from corten.cli.session import CommandFailed
from corten.client.errors import ClientError, ResponseError
from corten.client.transport import quote
from corten.template.row import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.cli.options import Options
    from corten.cli.session import Session

    Document = dict[str, Any]

NONE: Final = "<none>"
FORMAT: Final = Flag("format", "", "string", "Format output: 'table', 'table TEMPLATE', 'json' or a Go template")
FILTER: Final = Flag("filter", "f", "filter", "Filter output based on conditions provided", check=listing.filter_value)

LS_FLAGS: Final = (
    Flag("all", "a", "bool", "Show all images (default hides intermediate images)"),
    Flag("digests", "", "bool", "Show digests"),
    FILTER,
    FORMAT,
    Flag("no-trunc", "", "bool", "Don't truncate output"),
    Flag("quiet", "q", "bool", "Only show image IDs"),
)
HISTORY_FLAGS: Final = (
    FORMAT,
    Flag("human", "H", "bool", "Print sizes and dates in human readable format", True),
    Flag("no-trunc", "", "bool", "Don't truncate output"),
    Flag("quiet", "q", "bool", "Only show image IDs"),
    Flag("platform", "", "string", "Show history for the given platform"),
)
RM_FLAGS: Final = (
    Flag("force", "f", "bool", "Force removal of the image"),
    Flag("no-prune", "", "bool", "Do not delete untagged parents"),
    Flag("platform", "", "strings", 'Remove only the given platform variant (e.g. "linux/amd64")'),
)
TAG_FLAGS: Final = ()

_KIND: Final = "*formatter.imageContext"
_HEADERS: Final = {
    "Containers": "CONTAINERS", "CreatedAt": "CREATED AT", "Digest": "DIGEST", "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE", "VirtualSize": "SIZE",
}  # fmt: skip
_RAW: Final = (
    "repository: {{.Repository}}\\ntag: {{.Tag}}\\nimage_id: {{.ID}}\\ncreated_at: {{.CreatedAt}}\\n"
    "virtual_size: {{.Size}}\\n"
)


def ls(session: Session, given: Options, arguments: list[str]) -> int:
    """List images."""
    wanted = given.texts("filter") + ([f"reference={arguments[0]}"] if arguments else [])
    query = {"all": "1" if given.flag("all") else "", "filters": listing.filters(wanted)}
    images = session.client.get("/images/json", query)
    quiet = given.flag("quiet")
    chosen = given.text("format") or ("" if quiet else session.config.text("imagesFormat"))
    digests = given.flag("digests")
    with_digests = digests or "{{.Digest}}" in chosen
    rows = [
        image_row(image, names, whole=given.flag("no-trunc"))
        for image in images
        for names in names_of(image, with_digests=with_digests, digests=digests)
    ]
    columns = [("Repository", "REPOSITORY"), ("Tag", "TAG"), ("ID", "IMAGE ID"), ("CreatedSince", "CREATED"),
               ("Size", "SIZE")]  # fmt: skip
    if digests:
        columns.insert(2, ("Digest", "DIGEST"))
    sys.stdout.write(listing.render(Layout(_KIND, columns, "ID", _HEADERS, _RAW), rows, chosen, quiet=quiet))
    return 0


def names_of(image: Document, *, with_digests: bool, digests: bool) -> list[tuple[str, str, str]]:
    """The rows of one image: (repository, tag, digest) for every name it has."""
    tags: dict[str, list[str]] = {}
    for name in image.get("RepoTags") or ():
        repository, _, tag = name.rpartition(":")
        tags.setdefault(repository, []).append(tag)
    by_digest: dict[str, list[str]] = {}
    for name in image.get("RepoDigests") or ():
        repository, _, digest = name.partition("@")
        by_digest.setdefault(repository, []).append(digest)
    if (not tags and not by_digest) or (NONE in tags and NONE in by_digest):
        return [(NONE, NONE, NONE)]
    rows = []
    for repository, its_tags in tags.items():
        its_digests = by_digest.pop(repository, []) if with_digests else by_digest.pop(repository, []) and []
        rows += [(repository, tag, digest) for tag in its_tags for digest in its_digests or [NONE]]
    for repository, its_digests in by_digest.items():
        rows += [(repository, NONE, digest) for digest in (its_digests if digests else [""])]
    return rows


def image_row(image: Document, names: tuple[str, str, str], *, whole: bool) -> Row:
    """One name of an image as its template sees it."""
    repository, tag, digest = names
    shared, containers = image.get("SharedSize", -1), image.get("Containers", -1)
    unshared = image["Size"] - shared
    return Row(
        _KIND,
        {
            "Containers": lambda: "N/A" if containers == -1 else str(containers),
            "CreatedAt": lambda: units.moment(image["Created"]),
            "CreatedSince": lambda: units.ago(image["Created"]) if image["Created"] else "N/A",
            "Digest": lambda: digest,
            "ID": lambda: listing.short_id(image["Id"], whole=whole),
            "Repository": lambda: repository,
            "SharedSize": lambda: "N/A" if shared == -1 else units.size(shared),
            "Size": lambda: units.size(image["Size"], 3),
            "Tag": lambda: tag,
            "UniqueSize": lambda: "N/A" if shared == -1 else units.size(unshared),
            "VirtualSize": lambda: units.size(image["Size"]),
        },
    )


def history(session: Session, given: Options, arguments: list[str]) -> int:
    """List the steps of an image."""
    from corten.cli.commands.inspect import platform_document

    query = {"platform": platform_document(given.text("platform"))}
    steps = session.client.get(f"/images/{quote(arguments[0], '/:@')}/history", query)
    human, whole = given.flag("human"), given.flag("no-trunc")
    rows = [_step(step, human=human, whole=whole) for step in steps]
    created = ("CreatedSince", "CREATED") if human else ("CreatedAt", "CREATED AT")
    columns = (("ID", "IMAGE"), created, ("CreatedBy", "CREATED BY"), ("Size", "SIZE"), ("Comment", "COMMENT"))
    headers = {"CreatedAt": "CREATED AT", "CreatedSince": "CREATED"}
    layout = Layout("*formatter.historyContext", columns, "ID", headers)
    sys.stdout.write(listing.render(layout, rows, given.text("format"), quiet=given.flag("quiet")))
    return 0


def _step(step: Document, *, human: bool, whole: bool) -> Row:
    command = (step.get("CreatedBy") or "").replace("\t", " ")
    created = step.get("Created") or 0
    return Row(
        "*formatter.historyContext",
        {
            "Comment": lambda: step.get("Comment") or "",
            "CreatedAt": lambda: _rfc3339(created) if created > 0 else "N/A",
            "CreatedBy": lambda: command if whole else listing.ellipsis(command, 45),
            "CreatedSince": lambda: units.ago(created) if created > 0 else "N/A",
            "ID": lambda: listing.short_id(step["Id"], whole=whole or step["Id"].startswith("<")),
            "Size": lambda: units.size(step["Size"], 3) if human else str(step["Size"]),
        },
    )


def _rfc3339(seconds: int) -> str:
    import time

    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    return time.strftime("%Y-%m-%dT%H:%M:%S", local) + ("Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}")


def rm(session: Session, given: Options, arguments: list[str]) -> int:
    """Remove images; with --force an absent one is said and no failure."""
    from corten.cli.commands.inspect import platform_document

    force = given.flag("force")
    query: dict[str, str | list[str]] = {
        "force": "1" if force else "",
        "noprune": "1" if given.flag("no-prune") else "",
        "platforms": [platform_document(platform) for platform in given.texts("platform")],
    }
    code = 0
    for name in arguments:
        try:
            for item in session.client.call("DELETE", f"/images/{quote(name, '/:@')}", query):
                for kind, target in item.items():
                    session.print(f"{kind}: {target}")
        except ResponseError as error:
            if error.status != 404 or not force:
                code = 1
            session.complain(str(error))
    return code


def tag(session: Session, given: Options, arguments: list[str]) -> int:
    """Give an image another name."""
    source, target = arguments
    repository, tag_name = split_name(target)
    query = {"repo": repository, "tag": tag_name}
    session.client.call("POST", f"/images/{quote(source, '/:@')}/tag", query)
    return 0


def split_name(name: str) -> tuple[str, str]:
    """Repository and tag (``latest`` when it has none); refuses what can be no name before the engine is asked."""
    if "@" in name:
        raise ClientError("refusing to create a tag with a digest reference")
    repository, colon, tag_name = name.rpartition(":")
    if not colon or "/" in tag_name:
        repository, tag_name = name, ""
    path = repository
    domain, slash, rest = repository.partition("/")
    if slash and ("." in domain or ":" in domain or domain == "localhost" or domain != domain.lower()):
        path = rest
    problem = "invalid reference format"
    valid = set("abcdefghijklmnopqrstuvwxyz0123456789._-/")
    if path and path != path.lower() and set(path.lower()) <= valid:
        full = path if "/" in path or slash else f"library/{path}"
        problem += f": repository name ({full}) must be lowercase"
    elif path and set(path) <= valid and (tag_name or not colon or "/" in name.rpartition(":")[2]):
        return repository, tag_name or "latest"
    raise CommandFailed(f'Error parsing reference: "{name}" is not a valid repository/tag: {problem}')
