"""Id-mapped mounts, and ids of a container as the host counts them.

An id-mapped mount shows the files of a file system with other owners, and writes them with the owners they came from
(mount_setattr(2), MOUNT_ATTR_IDMAP, since Linux 5.12): an image's layers serve every map without a copy. Knows no
options and no paths.
"""

from __future__ import annotations

import errno
import os

from corten.errors import NotSupported
from corten.linux import capability, namespace, process
from corten.linux import mount as m
from corten.oci import idmap
from corten.oci.idmap import IdMaps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

_OWNED: Final = frozenset({"tmpfs", "devpts"})
_SIGKILL: Final = 9
_REFUSED: Final = (errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)


class Shift:
    """A container's user namespace: its maps as the host sees them, and a descriptor of it. ``own_ipc``: its message
    queues are its own, so that their file system may be given to it."""

    __slots__ = ("maps", "own_ipc", "userns")

    def __init__(self, maps: IdMaps, userns: int) -> None:
        self.maps = maps
        self.userns = userns
        self.own_ipc = False

    def give(self, directory: int, *names: str) -> None:
        """Make the container's root the owner of ``names`` below ``directory``."""
        for name in names:
            os.chown(name, self.maps.uid(0), self.maps.gid(0), dir_fd=directory, follow_symlinks=False)

    def make_files(self) -> None:
        """From now on every file the calling process makes is the container's root's: others could not even be written
        to an id-mapped layer."""
        capability.make_files_as(self.maps.uid(0), self.maps.gid(0))

    def map_ids(self, tree: int, *, recursive: bool = False) -> None:
        """Map the ids of the detached mount ``tree``.

        Raises NotSupported when this kernel or the mount's file system has no id-mapped mounts.
        """
        flags = m.AT_EMPTY_PATH | (m.AT_RECURSIVE if recursive else 0)
        try:
            m.mount_setattr(tree, "", flags, attr_set=m.MOUNT_ATTR_IDMAP, userns=self.userns)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            text = "this kernel or file system has no id-mapped mounts (Linux 5.12 and a file system that knows them)"
            raise NotSupported(f"mount_setattr: {text}: {os.strerror(error.errno or 0).lower()}") from None

    def cover(self, path: str) -> None:
        """Mount a clone of the directory ``path`` on it, with the container's ids as owners of the files below."""
        directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        tree = m.open_tree(directory, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH)
        self.map_ids(tree)
        m.move_mount(tree, directory)
        os.close(tree)
        os.close(directory)

    def data(self, fstype: str, data: Sequence[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
        """File system options whose ``uid`` and ``gid`` are the container's."""
        if fstype not in _OWNED:
            return list(data)
        return [(key, self._outside(key, value)) for key, value in data]

    def _outside(self, key: str, value: str | None) -> str | None:
        if key == "uid" and value and value.isdecimal():
            return str(self.maps.uid(int(value)))
        if key == "gid" and value and value.isdecimal():
            return str(self.maps.gid(int(value)))
        return value


def of_process(pid: int) -> Shift:
    """The user namespace of process ``pid``, whose maps are written."""
    maps = IdMaps(namespace.read_map(f"/proc/{pid}/uid_map"), namespace.read_map(f"/proc/{pid}/gid_map"))
    return Shift(maps, os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC))


def own_maps(uids: Any, gids: Any, where: str) -> Shift:
    """A user namespace with nobody in it, for a mount with maps of its own: its OCI members."""
    maps = idmap.parse(uids, gids, where)
    return Shift(maps, make_namespaces(maps, network=False)[0])


def make_namespaces(maps: IdMaps, *, network: bool) -> list[int]:
    """Descriptors of a user namespace, and of a network namespace that it owns, with nobody in them.

    A process is born in them and killed once they are held. Its number in this procfs comes from its pidfd: the caller
    may be in another pid namespace.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = namespace.clone3(namespace.CLONE_NEWUSER | (namespace.CLONE_NEWNET if network else 0))
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    made: list[int] = []
    try:
        shown = _number(pidfd)
        namespace.write_map(f"/proc/{shown}/uid_map", maps.uids)
        namespace.write_map(f"/proc/{shown}/gid_map", maps.gids)
        made.append(os.open(f"/proc/{shown}/ns/user", os.O_RDONLY | os.O_CLOEXEC))
        if network:
            made.append(os.open(f"/proc/{shown}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        for fd in made:
            os.close(fd)
        raise
    finally:
        process.pidfd_send_signal(pidfd, _SIGKILL)
        process.wait_exit(pidfd, block=True)
        for fd in (reading, writing, pidfd):
            os.close(fd)
    return made


def _number(pidfd: int) -> int:
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pid:"))
