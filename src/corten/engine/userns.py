"""User namespaces of containers: ``userns-remap`` of the engine, ``--userns`` of one container, and who gets which ids.

    --userns host                the host's user namespace, also with userns-remap
    (nothing)                    with userns-remap the engine's maps, else the host's
    --userns auto[:size=N]       a range of ids that no other running container has (65536 of them, or N)

What the engine keeps (layers, containers' own files, volumes) has the containers' ids on disk and is shown to each of
them through an id-mapped mount, so the maps of a container may be others at every start, and nothing is ever chowned.

Owns the grammar of the modes and of /etc/subuid and /etc/subgid, with dockerd's texts, and the choice of a range. All
of that is pure; :class:`UserNamespaces` reads the files and asks the shim for the namespaces. Refuses to know mounts.
"""

import asyncio
import grp
import logging
import os
import pwd
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Final

import msgspec

from corten.api.types.container import HostConfig
from corten.engine.record import ContainerRecord, IdMap, IdRange
from corten.engine.roster import Roster
from corten.engine.shims import Shim
from corten.errors import InvalidArgument, NotSupported, Unavailable
from corten.storage.overlay import probe_idmapped

logger = logging.getLogger(__name__)

#: What dockerd calls the user whose ranges ``userns-remap: default`` takes.
DEFAULT: Final = "default"
DEFAULT_USER: Final = "dockremap"
#: Whose ranges containers with ``--userns auto`` get, as podman has it.
AUTO_USER: Final = "containers"
AUTO_SIZE: Final = 65536
# What systemd keeps for containers and gives to no user (its UIDS-GIDS page, "Container UIDs"); the end is excluded.
_UNCLAIMED: Final = (524288, 1879048192)
_MAX_SIZE: Final = 1 << 24
_FILES: Final = ("/etc/subuid", "/etc/subgid")
_CANNOT: Final = "Can't create ID mappings: "

#: First id and how many.
Span = tuple[int, int]


class Lookup(msgspec.Struct, frozen=True):
    """The host's users and groups; each function raises KeyError for what there is not."""

    user: Callable[[str], pwd.struct_passwd] = pwd.getpwnam
    uid: Callable[[int], pwd.struct_passwd] = pwd.getpwuid
    group: Callable[[str], grp.struct_group] = grp.getgrnam
    gid: Callable[[int], grp.struct_group] = grp.getgrgid


class Spaces(msgspec.Struct, frozen=True):
    """A starting container's namespaces: descriptors, ``netns`` None when it gets its network from elsewhere."""

    maps: IdMap
    userns: int
    netns: int | None


# -- modes


def auto_size(mode: str) -> int:
    """How many ids a mode asks for, 0 for ``host`` and nothing.

    Raises:
        InvalidArgument: no such mode.
    """
    if mode in ("", "host"):
        return 0
    word, colon, option = mode.partition(":")
    key, equals, value = option.partition("=")
    if word != "auto" or (colon and (key != "size" or not equals)):
        raise InvalidArgument(f"invalid userns mode: {mode}")
    if not colon:
        return AUTO_SIZE
    if not value.isascii() or not value.isdecimal() or not 1 <= int(value[:10]) <= _MAX_SIZE:
        raise InvalidArgument(f"invalid userns mode: {mode}: size must be a number from 1 to {_MAX_SIZE}")
    return int(value)


def check(host: HostConfig, *, remapped: bool) -> None:
    """What cannot be had together with a user namespace, with dockerd's texts.

    Raises:
        InvalidArgument: which.
    """
    if not auto_size(host.UsernsMode) and not (remapped and host.UsernsMode == ""):
        return
    if host.Privileged:
        raise InvalidArgument(
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace"
            " when running privileged mode"
        )
    if host.NetworkMode == "host":
        raise InvalidArgument("cannot share the host's network namespace when user namespaces are enabled")
    if host.PidMode == "host":
        raise InvalidArgument("cannot share the host PID namespace when user namespaces are enabled")


# -- /etc/subuid and /etc/subgid


def spans_of(text: str, path: str, names: Sequence[str] = ()) -> list[Span]:
    """The entries of one of ``names``, by start; of everybody without names.

    Raises:
        InvalidArgument: a line is not ``name:start:count``.
    """
    found = []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        parts = line.split(":")
        if len(parts) != 3:
            raise InvalidArgument(f"Cannot parse subuid/gid information: Format not correct for {path} file")
        if names and parts[0] not in names:
            continue
        if not all(part.isascii() and part.isdecimal() for part in parts[1:]):
            raise InvalidArgument(f"String to int conversion failed during subuid/gid parsing of {path}: {line}")
        if int(parts[2]):
            found.append((int(parts[1]), int(parts[2])))
    return sorted(found)


def user_of(setting: str, lookup: Lookup) -> str:
    """The user whose ranges ``userns-remap`` means: ``default``, ``user[:group]`` by name or number.

    Raises:
        InvalidArgument: there is none, with dockerd's text.
    """
    user, colon, group = setting.partition(":")
    if ":" in group:
        raise InvalidArgument(f'Invalid user/group specification in --userns-remap: "{setting}"')
    name = _user_name(user, lookup)
    if not colon:
        group = user if user.isdecimal() else name
    try:
        lookup.gid(int(group)) if group.isdecimal() else lookup.group(group)
    except KeyError:
        text = f"Gid {group} has no entry in /etc/group" if group.isdecimal() else f'during gid lookup for "{group}"'
        raise InvalidArgument(text if group.isdecimal() else f"Error {text}: no such group") from None
    return name


def _user_name(user: str, lookup: Lookup) -> str:
    if user.isascii() and user.isdecimal():
        try:
            return lookup.uid(int(user)).pw_name
        except (KeyError, OverflowError):
            raise InvalidArgument(f"Uid {user} has no entry in /etc/passwd") from None
    name = DEFAULT_USER if user == DEFAULT else user
    try:
        return lookup.user(name).pw_name
    except KeyError:
        if user != DEFAULT:
            raise InvalidArgument(f'Error during uid lookup for "{user}": no such user') from None
    raise InvalidArgument(
        f'{_CANNOT}there is no user "{name}": make it with `useradd --system --user-group {name}` and give it ids with '
        f"{_remedy(name)}"
    )


def _remedy(name: str) -> str:
    return f"`usermod --add-subuids 231072-296607 --add-subgids 231072-296607 {name}`"


def maps_of(name: str, number: int, texts: Sequence[str]) -> IdMap:
    """The maps of all ranges a user has in the two files, one after the other from 0.

    Raises:
        InvalidArgument: it has none, with dockerd's text and what to do.
    """
    made = []
    for text, path in zip(texts, _FILES, strict=True):
        spans = spans_of(text, path, [str(number)]) or spans_of(text, path, [name])
        if not spans:
            kind = path.removeprefix("/etc/")
            found = f'no {kind} ranges found for user "{name}"'
            raise InvalidArgument(f"{_CANNOT}{found}: give it some with {_remedy(name)}")
        ranges: list[IdRange] = []
        for start, count in spans:
            ranges.append((sum(item[2] for item in ranges), start, count))
        made.append(tuple(ranges))
    return IdMap(uids=made[0], gids=made[1])


# -- a range for one container


def pool(texts: Sequence[str]) -> list[Span]:
    """The ids that ``--userns auto`` may give out, the same for users and groups: those of the user ``containers``, and
    where it has none what systemd keeps for containers, without what either file gives to anybody.
    """
    own = [spans_of(text, path, [AUTO_USER]) for text, path in zip(texts, _FILES, strict=True)]
    if all(own):
        return _common(*own)
    free = [(_UNCLAIMED[0], _UNCLAIMED[1] - _UNCLAIMED[0])]
    return without(free, (span for text, path in zip(texts, _FILES, strict=True) for span in spans_of(text, path)))


def _common(first: Sequence[Span], second: Sequence[Span]) -> list[Span]:
    shared = []
    for start, count in first:
        for other, size in second:
            low, high = max(start, other), min(start + count, other + size)
            if low < high:
                shared.append((low, high - low))
    return sorted(shared)


def without(spans: Iterable[Span], taken: Iterable[Span]) -> list[Span]:
    """What is left of ``spans``."""
    left = list(spans)
    for start, count in taken:
        pieces = []
        for first, size in left:
            before, after = min(first + size, start), max(first, start + count)
            pieces += [(low, high - low) for low, high in ((first, before), (after, first + size)) if low < high]
        left = pieces
    return sorted(left)


def choose(spans: Sequence[Span], taken: Iterable[Span], size: int) -> IdMap:
    """The lowest free range.

    Raises:
        Unavailable: there is none.
    """
    for start, count in without(spans, taken):
        if count >= size:
            return IdMap(uids=((0, start, size),), gids=((0, start, size),))
    raise Unavailable(
        f"no range of {size} ids is left for --userns auto: give the user {AUTO_USER} more of them in "
        f"{_FILES[0]} and {_FILES[1]}"
    )


# -- the service


class UserNamespaces:
    """Which containers have one, and the namespaces of those that start."""

    def __init__(self, remap: IdMap | None, data_root: str, roster: Roster, shim: Shim) -> None:
        self._data_root = data_root
        self._roster = roster
        self._shim = shim
        self._starting: dict[str, IdMap] = {}
        self._usable = False
        self._remap = remap

    async def startup(self) -> None:
        """With userns-remap: NotSupported when this host cannot have it. The shim must be there."""
        if self._remap is not None:
            await self._probe()

    def applies(self, host: HostConfig) -> bool:
        """Whether a container with these options gets a user namespace of its own."""
        return bool(auto_size(host.UsernsMode)) or (self._remap is not None and host.UsernsMode == "")

    async def check(self, host: HostConfig) -> None:
        """At creation.

        Raises:
            InvalidArgument: a mode that is none, or cannot be had with other options.
            NotSupported: this host cannot show layers with other ids.
        """
        check(host, remapped=self._remap is not None)
        if auto_size(host.UsernsMode):
            await self._probe()

    async def open(self, record: ContainerRecord, held: ExitStack) -> Spaces | None:
        """The namespaces of a container that is about to start, with maps of its own; None when it uses the host's.

        ``held`` closes the descriptors; until then nobody else gets the ids.
        """
        size = auto_size(record.host.UsernsMode)
        if size:
            maps = choose(pool(_read()), self._taken(), size)
        elif record.host.UsernsMode == "" and self._remap is not None:
            maps = self._remap
        else:
            return None
        self._starting[record.id] = maps
        held.callback(self._starting.pop, record.id, None)
        network = not record.host.NetworkMode.startswith("container:")
        userns, netns = await self._request(maps, network=network)
        held.callback(os.close, userns)
        if netns is not None:
            held.callback(os.close, netns)
        return Spaces(maps, userns, netns)

    def _taken(self) -> list[Span]:
        running = [item.record.id_map for item in self._roster if item.record.state.alive]
        maps = [self._remap, *self._starting.values(), *running]
        return [(start, count) for found in maps if found for _, start, count in (*found.uids, *found.gids)]

    async def _request(self, maps: IdMap, *, network: bool) -> tuple[int, int | None]:
        fields = {"uids": maps.uids, "gids": maps.gids, "network": network}
        _, fds = await self._shim.request("namespaces", fields)
        return fds[0], fds[1] if network else None

    async def _probe(self) -> None:
        """Once: whether overlayfs takes id-mapped layers here."""
        if self._usable:
            return
        userns, _ = await self._request(IdMap(uids=((0, 1, 1),), gids=((0, 1, 1),)), network=False)
        try:
            problem = await asyncio.to_thread(probe_idmapped, self._data_root, userns)
        finally:
            os.close(userns)
        if problem:
            raise NotSupported(f"user namespaces cannot be used here: {problem}")
        self._usable = True


def resolve(setting: str) -> IdMap | None:
    """The maps of ``userns-remap``; None for "" and for root, which is nobody else."""
    if not setting:
        return None
    name = user_of(setting, Lookup())
    if name == "root":
        logger.warning("userns-remap: root cannot be remapped with itself; user namespaces are off")
        return None
    return maps_of(name, pwd.getpwnam(name).pw_uid, _read())


def _read() -> list[str]:
    texts = []
    for path in _FILES:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                texts.append(file.read())
        except FileNotFoundError:
            texts.append("")
    return texts
