"""``prune`` of every kind of object: says what will go, asks, removes, and says what was gained."""

from __future__ import annotations

import sys

from corten.cli import listing, units
from corten.cli.options import Flag
from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.cli.options import Options
    from corten.cli.session import Session

_FORCE: Final = Flag("force", "f", "bool", "Do not prompt for confirmation")
_FILTER: Final = Flag("filter", "", "filter", 'Provide filter values (e.g. "until=<timestamp>")',
                      check=listing.filter_value)  # fmt: skip
CONTAINER_FLAGS: Final = (_FORCE, _FILTER)
NETWORK_FLAGS: Final = (_FORCE, _FILTER)
IMAGE_FLAGS: Final = (Flag("all", "a", "bool", "Remove all unused images, not just dangling ones"), _FORCE, _FILTER)
VOLUME_FLAGS: Final = (Flag("all", "a", "bool", "Remove all unused volumes, not just anonymous ones"), _FORCE, _FILTER)
SYSTEM_FLAGS: Final = (
    Flag("all", "a", "bool", "Remove all unused images not just dangling ones"),
    _FORCE,
    _FILTER,
    Flag("volumes", "", "bool", "Prune anonymous volumes"),
)

_QUESTION: Final = "Are you sure you want to continue? [y/N] "


def container(session: Session, given: Options, arguments: list[str]) -> int:
    """Remove stopped containers."""
    if not _agreed(given, "WARNING! This will remove all stopped containers."):
        return 0
    text, gained = _containers(session, _filters(session, given))
    return _report(text, gained)


def image(session: Session, given: Options, arguments: list[str]) -> int:
    """Remove unused images."""
    every = given.flag("all")
    what = "images without at least one container associated to them" if every else "dangling images"
    if not _agreed(given, f"WARNING! This will remove all {what}."):
        return 0
    text, gained = _images(session, _filters(session, given), every=every)
    return _report(text, gained)


def volume(session: Session, given: Options, arguments: list[str]) -> int:
    """Remove unused volumes."""
    every = given.flag("all")
    what = "local volumes" if every else "anonymous local volumes"
    wanted = _filters(session, given)
    if every:
        if any(value.startswith("all=") for value in wanted):
            raise ClientError("conflicting options: cannot specify both --all and --filter all=1")
        wanted.append("all=true")
    if not _agreed(
        given, f"WARNING! This will remove {'all ' if every else ''}{what} not used by at least one container."
    ):
        return 0
    text, gained = _volumes(session, wanted)
    return _report(text, gained)


def network(session: Session, given: Options, arguments: list[str]) -> int:
    """Remove unused networks."""
    if not _agreed(given, "WARNING! This will remove all custom networks not used by at least one container."):
        return 0
    text = _networks(session, _filters(session, given))
    if text:
        sys.stdout.write(text + "\n")
    return 0


def system(session: Session, given: Options, arguments: list[str]) -> int:
    """Remove everything that is not used."""
    wanted = _filters(session, given)
    every, with_volumes = given.flag("all"), given.flag("volumes")
    if with_volumes and any(value.startswith("until=") for value in wanted):
        raise ClientError('ERROR: The "until" filter is not supported with "--volumes"')
    if not _agreed(given, _system_warning(wanted, every=every, with_volumes=with_volumes)):
        return 0
    results = [_containers(session, wanted), (_networks(session, wanted), 0)]
    if with_volumes:
        results.append(_volumes(session, wanted))
    results.append(_images(session, wanted, every=every))
    results.append(_build_cache(session, wanted, every=every))
    for text, _ in results:
        if text:
            sys.stdout.write(text + "\n")
    return _report("", sum(gained for _, gained in results))


def _system_warning(wanted: list[str], *, every: bool, with_volumes: bool) -> str:
    lines = ["all stopped containers", "all networks not used by at least one container"]
    if with_volumes:
        lines.append("all anonymous volumes not used by at least one container")
    lines.append("all images without at least one container associated to them" if every else "all dangling images")
    lines.append("all build cache" if every else "unused build cache")
    text = "WARNING! This will remove:\n" + "".join(f"  - {line}\n" for line in lines)
    if wanted:
        text += "\n  Items to be pruned will be filtered with:\n" + "".join(f"  - {value}\n" for value in wanted)
    return text


def _agreed(given: Options, warning: str) -> bool:
    """Whether the user wants it; --force is a yes, the end of input a no."""
    if given.flag("force"):
        return True
    sys.stdout.write(f"{warning}\n{_QUESTION}")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() == "y"


def _filters(session: Session, given: Options) -> list[str]:
    """The given filters and those of the configuration, which an opposite one on the command line overrides."""
    wanted = given.texts("filter")
    configured = session.config.document.get("pruneFilters") or []
    for value in configured if isinstance(configured, list) else ():
        name, _, rest = str(value).partition("=")
        opposite = name[:-1] if name.endswith("!") else f"{name}!"
        if f"{opposite}={rest}" not in wanted:
            wanted.append(str(value))
    return wanted


def _prune(session: Session, kind: str, wanted: list[str]) -> dict[str, Any]:
    answer = session.client.call("POST", f"/{kind}/prune", {"filters": listing.filters(wanted)})
    return answer if isinstance(answer, dict) else {}


def _listed(title: str, names: list[str]) -> str:
    return f"Deleted {title}:\n" + "".join(f"{name}\n" for name in names) if names else ""


def _containers(session: Session, wanted: list[str]) -> tuple[str, int]:
    answer = _prune(session, "containers", wanted)
    return _listed("Containers", answer.get("ContainersDeleted") or []), answer.get("SpaceReclaimed") or 0


def _images(session: Session, wanted: list[str], *, every: bool) -> tuple[str, int]:
    answer = _prune(session, "images", [*wanted, f"dangling={'false' if every else 'true'}"])
    items = answer.get("ImagesDeleted") or []
    names = [f"{kind.lower()}: {target}" for item in items for kind, target in item.items() if target]
    return _listed("Images", names), answer.get("SpaceReclaimed") or 0


def _volumes(session: Session, wanted: list[str]) -> tuple[str, int]:
    answer = _prune(session, "volumes", wanted)
    return _listed("Volumes", answer.get("VolumesDeleted") or []), answer.get("SpaceReclaimed") or 0


def _networks(session: Session, wanted: list[str]) -> str:
    return _listed("Networks", _prune(session, "networks", wanted).get("NetworksDeleted") or [])


def _build_cache(session: Session, wanted: list[str], *, every: bool) -> tuple[str, int]:
    """Docker asks for labels of build cache as well, which has none, so that filters other than until are dropped."""
    kept = [value for value in wanted if value.startswith("until=")]
    query = {"filters": listing.filters(kept)} | ({"all": "1"} if every else {})
    answer = session.client.call("POST", "/build/prune", query)
    found = answer if isinstance(answer, dict) else {}
    names = found.get("CachesDeleted") or []
    text = "Deleted build cache objects:\n" + "".join(f"{name}\n" for name in names) if names else ""
    return text, found.get("SpaceReclaimed") or 0


def _report(text: str, gained: int) -> int:
    if text:
        sys.stdout.write(text + "\n")
    print(f"Total reclaimed space: {units.size(gained)}")
    return 0
