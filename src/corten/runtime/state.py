"""What corten-runtime keeps of a container between two commands::

    ROOT/<id>/state.json   runc's keys, beside them ``spec`` (the document it was created from) and ``bundle``
    ROOT/<id>/exec.fifo    exists from create to start; a byte written to it lets the program be executed

Written to a temporary file and renamed. Knows no kernel object but the process's pid and start time, which together
never name another process.
"""

from __future__ import annotations

import os
import select
import time

from corten.cgroup.group import Group
from corten.cgroup.hierarchy import Hierarchy
from corten.errors import Conflict, CorruptData, InvalidArgument, NotFound, RuntimeFailure
from corten.linux import process as linux_process
from corten.linux import procfs
from corten.oci.runtime import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

_NAMESPACE_FILES: Final = {"NEWNS": "mnt", "NEWPID": "pid", "NEWNET": "net", "NEWIPC": "ipc", "NEWUTS": "uts",
                           "NEWCGROUP": "cgroup", "NEWTIME": "time"}  # fmt: skip
_PATIENCE: Final = 10_000  # milliseconds: a process of many gigabytes takes long to die
_PUNCTUATION: Final = "_+-."


class Host:
    """What every command works on: ``root``, the directory of all containers' states, the ``hierarchy`` of cgroups, and
    whom to tell: ``warn`` and ``debug`` take one sentence each. ``systemd``: new groups are scopes of systemd's.
    """

    __slots__ = ("debug", "hierarchy", "root", "systemd", "warn")

    def __init__(
        self,
        root: str,
        hierarchy: Hierarchy,
        *,
        warn: Callable[[str], None],
        debug: Callable[[str], None],
        systemd: bool = False,
    ) -> None:
        self.root = root
        self.hierarchy = hierarchy
        self.systemd = systemd
        self.warn = warn
        self.debug = debug


class Container:
    """One container's directory and what its state.json says."""

    __slots__ = ("directory", "document", "id")

    def __init__(self, root: str, identifier: str, document: dict[str, Any]) -> None:
        self.id = identifier
        self.directory = f"{root}/{identifier}"
        self.document = document

    @property
    def fifo(self) -> str:
        """Path of the fifo that stands between create and start."""
        return f"{self.directory}/exec.fifo"

    @property
    def pid(self) -> int:
        """The first process, 0 when it was never cloned."""
        return int(self.document.get("init_process_pid") or 0)

    @property
    def spec(self) -> dict[str, Any]:
        """The OCI document it was created from."""
        return self.document["spec"]  # type: ignore[no-any-return]

    @property
    def unit(self) -> str:
        """systemd's name for its cgroup, "" when systemd did not make it."""
        return str(self.document.get("systemd_unit") or "")

    def group(self, hierarchy: Hierarchy) -> Group:
        """Its cgroup."""
        return Group(hierarchy, self.document["cgroup_path"])

    def alive(self) -> bool:
        """Whether the very process that was started is still there and no zombie."""
        try:
            return (
                self.pid > 0
                and procfs.start_ticks(self.pid) == self.document["init_process_start"]
                and procfs.state(self.pid) not in "ZX"
            )
        except OSError:
            return False

    def await_end(self) -> None:
        """Until the first process, which was killed, is gone."""
        try:
            pidfd = linux_process.pidfd_open(self.pid)
        except OSError:  # gone, and reaped
            return
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if self.alive() and not poll.poll(_PATIENCE):
                raise RuntimeFailure("container init still running")
        finally:
            os.close(pidfd)

    def status(self, hierarchy: Hierarchy) -> str:
        """OCI status, and runc's ``paused``."""
        if not self.alive():
            return "stopped"
        if os.path.exists(self.fifo):
            return "created"
        return "paused" if self.group(hierarchy).is_frozen() else "running"

    def oci_state(self, status: str) -> dict[str, Any]:
        """The state document hooks and ``state`` get (runtime-spec, runtime.md "State")."""
        state = {
            "ociVersion": self.spec.get("ociVersion") or "1.0.2",
            "id": self.id,
            "pid": self.pid if status != "stopped" else 0,
            "status": status,
            "bundle": self.document["bundle"],
        }
        if annotations := self.spec.get("annotations"):
            state["annotations"] = annotations
        return state

    def save(self) -> None:
        """Write state.json, whole or not at all."""
        path = f"{self.directory}/state.json"
        fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, encode(self.document).encode())
        finally:
            os.close(fd)
        os.rename(f"{path}.new", path)

    def remove(self) -> None:
        """Remove the directory."""
        for name in ("exec.fifo", "state.json", "state.json.new"):
            try:
                os.unlink(f"{self.directory}/{name}")
            except FileNotFoundError:
                pass
        try:
            os.rmdir(self.directory)
        except FileNotFoundError:
            pass


def check_id(identifier: str) -> None:
    """runc's rule for container ids."""
    if not identifier or identifier in (".", ".."):
        raise InvalidArgument("container id cannot be empty" if not identifier else "invalid container ID format")
    if not all(c.isascii() and (c.isalnum() or c in _PUNCTUATION) for c in identifier) or len(identifier) > 1024:
        raise InvalidArgument("invalid container ID format")


def create(root: str, identifier: str, bundle: str, spec: dict[str, Any], cgroup_path: str) -> Container:
    """A new container's directory; Conflict when the id is taken."""
    check_id(identifier)
    os.makedirs(root, mode=0o711, exist_ok=True)
    now = time.time_ns()
    document = {
        "id": identifier,
        "init_process_pid": 0,
        "init_process_start": 0,
        "created": rfc3339(now),
        "bundle": bundle,
        "cgroup_path": cgroup_path,
        "cgroup_paths": {},
        "namespace_paths": {},
        "rootless": False,
        "spec": spec,
    }
    container = Container(root, identifier, document)
    try:
        os.mkdir(container.directory, 0o711)
    except FileExistsError:
        raise Conflict("container with given ID already exists") from None
    return container


def note_process(container: Container, pid: int, hierarchy: Hierarchy) -> None:
    """Record the first process in the document (not yet on disk)."""
    group = container.group(hierarchy)
    container.document.update(
        init_process_pid=pid,
        init_process_start=procfs.start_ticks(pid),
        cgroup_paths={name: group.directory(name) for name in hierarchy.controllers},
        namespace_paths={kind: f"/proc/{pid}/ns/{file}" for kind, file in _NAMESPACE_FILES.items()},
    )


def load(root: str, identifier: str) -> Container:
    """An existing container; NotFound with runc's text."""
    check_id(identifier)
    try:
        with open(f"{root}/{identifier}/state.json", "rb") as file:
            document = decode(file.read())
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound("container does not exist") from None
    except ValueError as error:
        raise CorruptData(f"{root}/{identifier}/state.json: {error}") from None
    return Container(root, identifier, document)


def identifiers(root: str) -> list[str]:
    """All containers under ``root``."""
    try:
        return sorted(name for name in os.listdir(root) if os.path.exists(f"{root}/{name}/state.json"))
    except FileNotFoundError:
        return []


def rfc3339(nanoseconds: int) -> str:
    """UTC, with nanoseconds."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"
