"""Who the process is: the user string, passwd and group files, capabilities, limits.

The first half is pure: it parses what a user wrote and what a hostile image holds. Numbers are decimal digits and
nothing else ("+1", "0x0", "1e3" are names, CVE-2026-30892; 4294967296 does not wrap to root, CVE-2024-40635). The
second half applies the result to the calling process. Nothing here asks the C library's name services, which would
load code of the container's root (CVE-2019-14271).
"""

from __future__ import annotations

import errno
import os
import resource
import stat

from corten.errors import InvalidArgument, RuntimeFailure
from corten.linux import capability, process
from corten.linux.path import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, Final

    from corten.oci.idmap import IdMaps

_MAX_ID: Final = 0x7FFFFFFF
_MAX_FILE: Final = 4 << 20
_MAX_GROUPS: Final = 65536  # NGROUPS_MAX
_DIGITS: Final = frozenset("0123456789")
_CAPABILITY_SETS: Final = ("bounding", "effective", "permitted", "inheritable", "ambient")
_NULL_DEVICE: Final = os.makedev(1, 3)


class Identity:
    """The resolved user: ids, supplementary groups and home directory ("" when passwd has none)."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: Sequence[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home


def numeric(text: str) -> int | None:
    """The id that ``text`` spells in decimal digits, None for anything else.

    Raises InvalidArgument for a number no kernel id can be, as Docker does.
    """
    if not text or not _DIGITS.issuperset(text):
        return None
    value = int(text) if len(text) <= 20 else _MAX_ID + 1
    if value > _MAX_ID:
        raise InvalidArgument(f"uids and gids must be in range 0-{_MAX_ID}")
    return value


def _entries(content: bytes, fields: int) -> Iterator[list[str]]:
    for line in content.split(b"\n"):
        parts = line.decode("utf-8", "surrogateescape").strip().split(":")
        if len(parts) >= fields and parts[0] and not parts[0].startswith("#"):
            yield parts


def _id_of(text: str) -> int | None:
    """An id of a file's line; None makes the line unusable instead of meaning 0."""
    if not text or len(text) > 10 or not _DIGITS.issuperset(text):
        return None
    value = int(text)
    return value if value <= _MAX_ID else None


def resolve(user: str, passwd: bytes, group: bytes) -> Identity:
    """Docker's ``--user``: ``name|uid[:group|gid]``, "" for uid 0.

    A name of passwd wins over a number; the group defaults to the passwd entry's, else 0; supplementary groups are
    those whose list has the user's name, and none when a group was given.
    """
    who, colon, which = user.partition(":")
    name, uid, gid, home = _find_user(who, passwd)
    if colon and which:
        return Identity(uid, _find_group(which, group), (), home)
    return Identity(uid, gid, _member_of(name, group), home)


def _find_user(who: str, passwd: bytes) -> tuple[str, int, int, str]:
    wanted = who or "0"
    for parts in _entries(passwd, 4):
        uid, gid = _id_of(parts[2]), _id_of(parts[3])
        if uid is None or gid is None:
            continue
        if (who and parts[0] == who) or str(uid) == wanted:
            return parts[0], uid, gid, parts[5] if len(parts) > 5 else ""
    number = numeric(wanted)
    if number is None:
        raise InvalidArgument(f"unable to find user {who}: no matching entries in passwd file")
    return "", number, 0, ""


def _find_group(which: str, group: bytes) -> int:
    for parts in _entries(group, 3):
        gid = _id_of(parts[2])
        if gid is not None and (parts[0] == which or str(gid) == which):
            return gid
    number = numeric(which)
    if number is None:
        raise InvalidArgument(f"unable to find group {which}: no matching entries in group file")
    return number


def _member_of(name: str, group: bytes) -> list[int]:
    if not name:
        return []
    found: list[int] = []
    for parts in _entries(group, 4):
        gid = _id_of(parts[2])
        if gid is not None and gid not in found and name in parts[3].split(","):
            found.append(gid)
    return found[:_MAX_GROUPS]


def group_ids(names: Sequence[str], group: bytes) -> list[int]:
    """``--group-add``: names of the container's group file or numbers."""
    return [_find_group(name, group) for name in names]


def identify(user: dict[str, Any], root: Root) -> Identity:
    """The OCI ``process.user``; with the engine's key ``corten.user`` its string is looked up inside ``root``."""
    extra = list(user.get("additionalGids") or ())
    if "corten.user" not in user:
        return Identity(user.get("uid", 0), user.get("gid", 0), extra, "")
    content = _database(root, "/etc/group")
    identity = resolve(user["corten.user"], _database(root, "/etc/passwd"), content)
    extra += group_ids(user.get("corten.groups") or (), content)
    # The primary group is among the supplementary ones, so that a setgid program cannot shed it (CVE-2022-36109).
    groups = list(dict.fromkeys((identity.gid, *identity.groups, *extra)))
    return Identity(identity.uid, identity.gid, groups, identity.home)


def keep_databases(root: Root, directory: str) -> None:
    """Copies of the root's passwd and group files below ``directory``, at the same paths."""
    os.mkdir(f"{directory}/etc", 0o700)
    for path in ("/etc/passwd", "/etc/group"):
        descriptor = os.open(f"{directory}{path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, _database(root, path))
        finally:
            os.close(descriptor)


def home_of(uid: int, root: Root) -> str:
    """The home directory of ``uid`` by the root's passwd file, "/" when it has none."""
    for parts in _entries(_database(root, "/etc/passwd"), 6):
        if _id_of(parts[2]) == uid:
            return parts[5] or "/"
    return "/"


def _database(root: Root, path: str) -> bytes:
    try:
        return root.read(path, _MAX_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise RuntimeFailure(f"{path} of the container cannot be read: {error.strerror}".lower()) from None


def own_stdio(uid: int) -> None:
    """Give descriptors 0-2 to ``uid`` so that /dev/stdout can be opened again; what cannot be given stays."""
    for fd in (0, 1, 2):
        try:
            status = os.fstat(fd)
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL_DEVICE:
                continue
            if status.st_uid != uid:
                os.fchown(fd, uid, status.st_gid)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EROFS, errno.EINVAL, errno.EBADF):
                raise


def give_streams(descriptors: Sequence[int], maps: IdMaps) -> None:
    """Give pipes to root of a user namespace, who may then give them to its users; what cannot be given stays."""
    for fd in descriptors:
        try:
            if fd >= 0 and stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.fchown(fd, maps.uid(0), maps.gid(0))
        except PermissionError:  # a host in a user namespace of its own
            pass


def raise_limits(rlimits: Sequence[dict[str, Any]], pid: int) -> None:
    """Lift hard limits of process ``pid`` to the OCI ``process.rlimits``, where this host may; :func:`limit` does the
    rest."""
    for entry in rlimits:
        kind = getattr(resource, entry["type"], None)
        if kind is None:
            raise InvalidArgument(f"process.rlimits: invalid rlimit type: {entry['type']}")
        soft, hard = resource.prlimit(pid, kind)
        wanted = _signed(entry["hard"])
        if _order(wanted) > _order(hard):
            try:
                resource.prlimit(pid, kind, (soft, wanted))
            except (PermissionError, ValueError):
                continue


def limit(rlimits: Sequence[dict[str, Any]]) -> list[str]:
    """Set the OCI ``process.rlimits``; returns warnings.

    Without CAP_SYS_RESOURCE a hard limit cannot be raised: the limit is then what the host allows.
    """
    warnings = []
    for entry in rlimits:
        kind = getattr(resource, entry["type"], None)
        if kind is None:
            raise InvalidArgument(f"process.rlimits: invalid rlimit type: {entry['type']}")
        soft, hard = _signed(entry["soft"]), _signed(entry["hard"])
        try:
            resource.setrlimit(kind, (soft, hard))
        except (PermissionError, ValueError):
            allowed = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (min(soft, allowed, key=_order), allowed))
            warnings.append(f"{entry['type']} stays at {allowed}: this host does not let it be raised")
    return warnings


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _order(value: int) -> int:
    return value if value >= 0 else 1 << 64


def capability_masks(capabilities: Mapping[str, Sequence[str]] | None) -> tuple[dict[str, int], list[str]]:
    """The OCI ``process.capabilities`` as masks for bounding, effective, permitted, inheritable, ambient; and warnings.

    Names this table does not know are left out, as a newer client may name newer capabilities (runtime-spec, config.md
    "Linux Process").
    """
    masks, unknown, known = {}, set(), capability.MASKS
    for kind in _CAPABILITY_SETS:
        value = 0
        for name in (capabilities or {}).get(kind) or ():
            if name in known:
                value |= known[name]
            else:
                unknown.add(name)
        masks[kind] = value
    return masks, [f"capability {name} is not known here and is not granted" for name in sorted(unknown)]


def drop_bounding(keep: int) -> None:
    """Drop from the bounding set every capability not in ``keep``."""
    for bit in range(64):
        if not keep >> bit & 1 and not capability.bounding_drop(bit):
            return


def _change_ids(identity: Identity) -> None:
    try:
        os.setgroups(list(identity.groups))
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        text = f"user {identity.uid}:{identity.gid} has ids that are not mapped in the container's user namespace"
        raise RuntimeFailure(f"unable to start container process: {text}") from None


def become_root() -> None:
    """The ids of the user namespace's root, instead of those of the host that have no name there."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def become(identity: Identity, masks: Mapping[str, int]) -> None:
    """Change to the user and leave exactly the given capabilities.

    (1) bounding set, while CAP_SETPCAP is there  (2) keep the permitted set over setuid  (3) groups, gid, uid
    (4) permitted, effective, inheritable  (5) ambient, which must be permitted and inheritable by then
    """
    drop_bounding(masks["bounding"])  # (1)
    process.set_keep_capabilities(on=True)  # (2)
    _change_ids(identity)  # (3)
    process.set_keep_capabilities(on=False)
    held = capability.capget()[1]  # (4)
    permitted = masks["permitted"] & held
    inheritable = masks["inheritable"] & (held | masks["bounding"])
    capability.capset(masks["effective"] & permitted, permitted, inheritable & held)
    capability.ambient_clear()  # (5)
    for bit in range(64):
        if masks["ambient"] & permitted & inheritable & held & 1 << bit:
            capability.ambient_raise(bit)
