"""OCI mount options to flags, attributes, propagation and file system data: one table, no kernel."""

from __future__ import annotations

from corten.errors import InvalidArgument, NotSupported
from corten.linux import mount as m

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

# option -> (attributes set, attributes cleared)
_ATTRIBUTES: Final[Mapping[str, tuple[int, int]]] = {
    "ro": (m.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, m.MOUNT_ATTR_RDONLY),
    "nosuid": (m.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, m.MOUNT_ATTR_NOSUID),
    "nodev": (m.MOUNT_ATTR_NODEV, 0),
    "dev": (0, m.MOUNT_ATTR_NODEV),
    "noexec": (m.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, m.MOUNT_ATTR_NOEXEC),
    "noatime": (m.MOUNT_ATTR_NOATIME, m.MOUNT_ATTR__ATIME),
    "atime": (m.MOUNT_ATTR_RELATIME, m.MOUNT_ATTR__ATIME),
    "relatime": (m.MOUNT_ATTR_RELATIME, m.MOUNT_ATTR__ATIME),
    "norelatime": (m.MOUNT_ATTR_STRICTATIME, m.MOUNT_ATTR__ATIME),
    "strictatime": (m.MOUNT_ATTR_STRICTATIME, m.MOUNT_ATTR__ATIME),
    "nostrictatime": (m.MOUNT_ATTR_RELATIME, m.MOUNT_ATTR__ATIME),
    "nodiratime": (m.MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, m.MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (m.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, m.MOUNT_ATTR_NOSYMFOLLOW),
}
_PROPAGATION: Final[Mapping[str, int]] = {
    "private": m.MS_PRIVATE,
    "rprivate": m.MS_PRIVATE | m.MS_REC,
    "slave": m.MS_SLAVE,
    "rslave": m.MS_SLAVE | m.MS_REC,
    "shared": m.MS_SHARED,
    "rshared": m.MS_SHARED | m.MS_REC,
    "unbindable": m.MS_UNBINDABLE,
    "runbindable": m.MS_UNBINDABLE | m.MS_REC,
}
# Flags of the superblock; those of a new file system only.
_SUPERBLOCK: Final = frozenset({"sync", "dirsync", "mand", "lazytime", "iversion"})
_IGNORED: Final = frozenset({"defaults", "async", "nomand", "norro", "nolazytime", "noiversion", "loud", "silent"})


class MountOptions:
    """Parsed options of one mount. ``propagation``: MS_* values in order; ``data``: ``(key, value or None)``."""

    __slots__ = (
        "attr_clr", "attr_set", "bind", "copy_up", "data", "idmap", "idmap_recursive", "propagation", "rec_clr",
        "rec_set", "recursive",
    )  # fmt: skip

    def __init__(self) -> None:
        self.attr_set = 0
        self.attr_clr = 0
        self.rec_set = 0
        self.rec_clr = 0
        self.bind = False
        self.recursive = False
        self.copy_up = False
        self.idmap = False
        self.idmap_recursive = False
        self.propagation: list[int] = []
        self.data: list[tuple[str, str | None]] = []


def parse(options: Sequence[str]) -> MountOptions:
    """OCI ``mounts[].options``; later ones win. Unknown words are file system data, as the runtime-spec says."""
    made = MountOptions()
    for option in options:
        if option in _ATTRIBUTES:
            set_, clear = _ATTRIBUTES[option]
            made.attr_set = made.attr_set & ~clear | set_
            made.attr_clr = (made.attr_clr | clear) & ~(set_ & ~m.MOUNT_ATTR__ATIME)
        elif option in _PROPAGATION:
            made.propagation.append(_PROPAGATION[option])
        elif option in ("bind", "rbind"):
            made.bind, made.recursive = True, option == "rbind"
        elif option.startswith("r") and option[1:] in _ATTRIBUTES:
            set_, clear = _ATTRIBUTES[option[1:]]
            made.rec_set, made.rec_clr = made.rec_set & ~clear | set_, made.rec_clr | clear
        elif option == "tmpcopyup":
            made.copy_up = True
        elif option in _IGNORED:
            continue
        elif option == "remount":
            raise NotSupported("mounts: option remount is not supported: give the mount its options where it is made")
        elif option in ("idmap", "ridmap"):
            made.idmap, made.idmap_recursive = True, option == "ridmap"
        elif option in _SUPERBLOCK:
            made.data.append((option, None))
        else:
            key, equals, value = option.partition("=")
            made.data.append((key, value if equals else None))
    return made


def propagation(name: str) -> int:
    """``linux.rootfsPropagation`` as MS_*; 0 for ""."""
    if not name:
        return 0
    if name not in _PROPAGATION:
        raise InvalidArgument(f"linux.rootfsPropagation: unknown value {name!r}")
    return _PROPAGATION[name]


def names() -> list[str]:
    """Every option this table knows, for the features document."""
    recursive = [f"r{option}" for option in _ATTRIBUTES]
    return sorted(
        {
            *_ATTRIBUTES,
            *recursive,
            *_PROPAGATION,
            *_SUPERBLOCK,
            *_IGNORED,
            "bind",
            "rbind",
            "tmpcopyup",
            "idmap",
            "ridmap",
        }
    )
