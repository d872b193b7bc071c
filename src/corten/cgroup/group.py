"""One cgroup: made with its limits, joined, killed, frozen, removed - the same on v1, v2 and hybrid hosts.

Owns the directories of its path in every hierarchy. Refuses to know containers; what a limit means is
:mod:`corten.cgroup.resources`. A limit this host cannot set is a line in ``warnings``, as Docker has it, not an error.
"""

from __future__ import annotations

import errno
import os
import time
from itertools import groupby

from corten.cgroup import devices, freezer, leaf, writer
from corten.cgroup.hierarchy import Hierarchy, join, read, write, write_each
from corten.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

_SIGKILL: Final = 9
_REMOVE_ATTEMPTS: Final = 15  # four seconds in all: a process of many gigabytes takes long to die
_FIRST_PAUSE: Final = 0.002
_LACKING: Final = frozenset({errno.ENOENT, errno.EACCES, errno.EOPNOTSUPP, errno.EPERM, errno.EROFS})


class Group:
    """``path`` is absolute within the hierarchies ("/corten/ID"); ``warnings`` are sentences for the user."""

    __slots__ = ("_directories", "hierarchy", "path", "warnings")

    def __init__(self, hierarchy: Hierarchy, path: str) -> None:
        self.hierarchy = hierarchy
        self.path = path
        self.warnings: list[str] = []
        self._directories = hierarchy.directories(path)

    @classmethod
    def create(cls, hierarchy: Hierarchy, path: str, resources: dict[str, Any]) -> Group:
        """Make the directories and write the limits.

        Raises InvalidArgument for a value the kernel refuses, RuntimeFailure when the device allow list cannot be put
        in force; a group that was not there before is then gone again.
        """
        group = cls(hierarchy, path)
        found: list[str] = []
        try:
            group._make(resources, found)
        except BaseException:
            if not found:
                _give_up(group)
            raise
        return group

    def _make(self, resources: dict[str, Any], found: list[str]) -> None:
        """``found`` gets the directories that were there before."""
        for index, directory in enumerate(list(self._directories)):
            try:
                if not _make_directory(directory):
                    found.append(directory)
            except OSError as error:
                if error.errno not in _LACKING or (self.hierarchy.version == 2):
                    raise
                self._directories[index] = ""  # a hierarchy mounted read-only: the host keeps it to itself
        self._directories = [directory for directory in self._directories if directory]
        if self.hierarchy.version == 2 and self.hierarchy.unified:
            self._enable_controllers()
        elif "cpuset" in self.hierarchy.controllers:
            _inherit_cpuset(self.hierarchy.controllers["cpuset"], self.path)
        self.warnings += writer.write_limits(self, resources, fresh=not found)
        if rules := resources.get("devices"):
            self._allow_devices([*rules, *devices.SUPPLIED])

    def update(self, resources: dict[str, Any]) -> None:
        """Write limits, all or none of them. What the host lacks is added to ``warnings``.

        Raises InvalidArgument for a value the kernel refuses; the limits are then what they were.
        """
        self.warnings += writer.write_limits(self, resources)

    def directory(self, controller: str) -> str:
        """The directory in which ``controller`` keeps its files, "" when this host has none."""
        if self.hierarchy.version == 2:
            known = not controller or controller in self.hierarchy.controllers
            return join(self.hierarchy.unified, self.path) if known else ""
        top = self.hierarchy.controllers.get(controller)
        return join(top, self.path) if top else ""

    @property
    def unified(self) -> str:
        """The v2 directory, "" where there is none."""
        return join(self.hierarchy.unified, self.path) if self.hierarchy.unified else ""

    def open_unified(self) -> int:
        """A descriptor of the v2 directory for CLONE_INTO_CGROUP, -1 when there is none."""
        if not self.hierarchy.unified:
            return -1
        try:
            return os.open(join(self.hierarchy.unified, self.path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return -1

    def of_process(self, pid: int) -> Group:
        """The v2 group process ``pid`` is in, which may lie below this one."""
        for line in read(f"/proc/{pid}/cgroup").splitlines():
            if line.startswith("0::"):
                return Group(self.hierarchy, line[3:])
        return self

    def join(self) -> None:
        """Move the calling process (of one thread) into the v1 hierarchies; v2 is joined by clone3.

        Writing ``0`` to ``tasks`` moves the writer alone and does not wait for the kernel's global lock on thread
        groups, as any write to ``cgroup.procs`` does (10 ms on an otherwise idle machine).
        """
        for top in self.hierarchy.mounts.values():
            try:
                write(f"{join(top, self.path)}/tasks", "0")
            except OSError as error:
                if error.errno not in _LACKING:
                    raise

    def pids(self) -> list[int]:
        """All processes in the group and below it."""
        found: set[int] = set()
        for directory in self._tree():
            found.update(int(line) for line in read(f"{directory}/cgroup.procs").split())
        return sorted(found)

    def kill(self) -> None:
        """SIGKILL everything in the group, also what forks meanwhile."""
        if self.hierarchy.version == 2 and self._directories:
            try:
                write(f"{self._directories[0]}/cgroup.kill", "1")  # since Linux 5.14
            except OSError:
                pass
            else:
                return
        try:
            self.freeze()
        except OSError:
            pass
        for _ in range(_REMOVE_ATTEMPTS):
            pids = self.pids()
            for pid in pids:
                try:
                    os.kill(pid, _SIGKILL)
                except ProcessLookupError:
                    pass
            try:
                self.thaw()
            except OSError:
                pass
            if not pids:
                return
            time.sleep(_FIRST_PAUSE)

    def freeze(self) -> None:
        """Stop every process of the group until :meth:`thaw`; returns when the kernel says they are stopped."""
        freezer.settle(self, frozen=True)

    def thaw(self) -> None:
        """Undo :meth:`freeze`."""
        freezer.settle(self, frozen=False)

    def is_frozen(self) -> bool:
        """Whether :meth:`freeze` is in force."""
        return freezer.is_frozen(self)

    def delete(self) -> None:
        """Remove the directories, and those made below them; retries while the kernel still counts dying tasks."""
        for directory in self._directories:
            for inner in reversed(_below(directory)):
                _remove(inner)

    def exists(self) -> bool:
        """Whether any directory of the group is there."""
        return any(os.path.isdir(directory) for directory in self._directories)

    def _tree(self) -> list[str]:
        if not self._directories:
            return []
        if self.hierarchy.version == 2:
            return _below(self._directories[0])
        tops = self.hierarchy.controllers
        name = next((name for name in ("pids", "freezer", "memory", "devices") if name in tops), "")
        return _below(join(tops[name], self.path)) if name else [d for top in self._directories for d in _below(top)]

    def _enable_controllers(self) -> None:
        """cgroup.subtree_control of every ancestor, top down; a controller the host refuses is one that is lacking.

        In a container the top is a group with processes, this one among them, and may not hand anything down until
        they have left it (cgroup-v2.rst, "No Internal Process Constraint"): before the first controller, because a
        threaded one (cpuset) is handed down all the same, which makes every group below it invalid.
        """
        parts = self.path.strip("/").split("/")
        for depth in range(len(parts)):
            directory = join(self.hierarchy.unified, "/".join(parts[:depth]))
            have = set(read(f"{directory}/cgroup.subtree_control").split())
            lacking = [name for name in read(f"{directory}/cgroup.controllers").split() if name not in have]
            if lacking and depth == 0 and leaf.is_inner(directory):
                leaf.vacate(directory)
            for name in lacking:
                _hand_down(directory, name)

    def _allow_devices(self, rules: Sequence[dict[str, Any]]) -> None:
        """Put the allow list in force, or refuse the group: with CAP_MKNOD alone a container without it reads and
        writes the host's disks. In a user namespace the kernel itself keeps such nodes from being made or opened."""
        directory = self.directory("devices") if self.hierarchy.version == 1 else ""
        reason = "this host has no devices controller"
        try:
            if directory:
                for file, lines in groupby((devices.line_v1(rule) for rule in rules), key=lambda entry: entry[0]):
                    write_each(f"{directory}/{file}", [line for _, line in lines])
                return
            if (fd := self.open_unified()) >= 0:
                try:
                    devices.attach(fd, devices.program(rules))
                finally:
                    os.close(fd)
                return
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
        if not devices.opens_everything(rules) and not _in_user_namespace():
            raise RuntimeFailure(f"the device allow list cannot be put in force: {reason}")
        self.warnings.append(f"devices are not limited: {reason}")


def _give_up(group: Group) -> None:
    try:
        group.delete()
    except OSError:
        pass  # what made the group fail is the news


def _in_user_namespace() -> bool:
    return read("/proc/self/uid_map").split() != ["0", "0", "4294967295"]


def _hand_down(directory: str, name: str) -> None:
    try:
        write(f"{directory}/cgroup.subtree_control", f"+{name}")
    except OSError:
        pass  # the limit that needs it says so


def _make_directory(directory: str) -> bool:
    """Make it and its parents; False when it was there."""
    try:
        os.mkdir(directory, 0o755)
    except FileNotFoundError:
        _make_directory(os.path.dirname(directory))
        return _make_directory(directory)
    except FileExistsError:
        return False
    return True


def _inherit_cpuset(top: str, path: str) -> None:
    """A new v1 cpuset is empty and takes no task: fill it from its parent, which may be as empty."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        _inherited(top, path.strip("/"), file)


def _inherited(top: str, path: str, file: str) -> str:
    """What ``file`` says at level ``path``, by inheritance if need be."""
    name = f"{join(top, path)}/{file}"
    value = read(name).strip()
    if not value and path:
        value = _inherited(top, path.rpartition("/")[0], file)
        write(name, value)
    return value


def _below(directory: str) -> list[str]:
    """``directory`` and the groups below it, parents first; empty when it is gone."""
    try:
        entries = [entry.path for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    found = [directory]
    for entry in entries:
        found.extend(_below(entry))
    return found


def _remove(directory: str) -> None:
    pause = _FIRST_PAUSE
    for attempt in range(_REMOVE_ATTEMPTS):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or attempt == _REMOVE_ATTEMPTS - 1:
                raise
            time.sleep(pause)
            pause *= 1.6
        else:
            return
