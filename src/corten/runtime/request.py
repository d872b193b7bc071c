"""What a caller asks of the runtime, and what it gets: plain values, checked here, executed elsewhere."""

from __future__ import annotations

from corten.cgroup.group import Group
from corten.errors import InvalidArgument
from corten.linux import namespace
from corten.oci import runtime as document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

    from corten.oci.idmap import IdMaps

NAMESPACE_FLAGS: Final[Mapping[str, int]] = {
    "pid": namespace.CLONE_NEWPID,
    "network": namespace.CLONE_NEWNET,
    "mount": namespace.CLONE_NEWNS,
    "ipc": namespace.CLONE_NEWIPC,
    "uts": namespace.CLONE_NEWUTS,
    "cgroup": namespace.CLONE_NEWCGROUP,
    "user": namespace.CLONE_NEWUSER,
    "time": namespace.CLONE_NEWTIME,
}
# Made by the process itself: the one once it is in its cgroup, the other because its offsets come before its use.
_UNSHARED: Final = frozenset({"cgroup", "time"})


class Started:
    """A process on its way: ``pid`` as this pid namespace counts, its ``pidfd``, the ``sync`` channel
    (:mod:`corten.runtime.sync`) and ``mntns``, a descriptor of its mount namespace or -1. ``builder``: the pidfd of the
    second process of a start in a user namespace (:mod:`corten.runtime.userns`), which the caller reaps, or -1.

    The caller owns the descriptors. Holding ``mntns`` until the exit was reported keeps the kernel's tearing down of
    the mounts (1 ms) out of the exit's way.
    """

    __slots__ = ("builder", "mntns", "pid", "pidfd", "sync")

    def __init__(self, pid: int, pidfd: int, sync: int, mntns: int, *, builder: int = -1) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.sync = sync
        self.mntns = mntns
        self.builder = builder


class StartRequest:
    """The first process of a container.

    ``spec`` OCI config.json · ``rootfs`` mounts of the root (the first has target "/"), empty for ``spec.root.path``
    relative to ``bundle`` · ``stdin stdout stderr`` descriptors, unused with ``process.terminal`` · ``netns`` a
    network namespace to join instead of making one · ``seccomp`` compiled filter, compiled from the spec when empty ·
    ``init`` our own init as pid 1 · ``hold_start`` a descriptor: one byte read from it lets execve happen, EOF gives
    up, and the failure of a startContainer hook is written to it · ``cgroup`` the group, already made · ``preserve``
    how many descriptors from 3 on stay open · ``hook_state`` the OCI state document for hooks · ``new_keyring`` a
    session keyring of its own.
    """

    __slots__ = (
        "bundle", "cgroup", "hold_start", "hook_state", "id", "init", "netns", "new_keyring", "new_namespaces", "paths",
        "preserve", "root_path", "rootfs", "seccomp", "seccomp_flags", "spec", "stderr", "stdin", "stdout",
    )  # fmt: skip

    FLAGS = NAMESPACE_FLAGS

    def __init__(
        self,
        *,
        id: str,  # noqa: A002  the specification's word
        spec: dict[str, Any],
        rootfs: Sequence[dict[str, Any]] = (),
        stdin: int = 0,
        stdout: int = 1,
        stderr: int = 2,
        netns: int | None = None,
        seccomp: bytes = b"",
        init: bool = False,
        bundle: str = "",
        hold_start: int | None = None,
        cgroup: Group | None = None,
        preserve: int = 0,
        hook_state: dict[str, Any] | None = None,
        new_keyring: bool = True,
    ) -> None:
        document.validate(spec)
        kinds = document.namespaces(spec)
        if netns is not None:
            kinds.pop("network", None)
        self.id = id
        self.spec = spec
        self.rootfs = rootfs
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.netns = netns
        self.seccomp = seccomp
        self.seccomp_flags = 0
        self.init = init
        self.bundle = bundle
        self.hold_start = hold_start
        self.cgroup = cgroup
        self.preserve = preserve
        self.hook_state = hook_state or {}
        self.new_keyring = new_keyring
        self.new_namespaces = [kind for kind, path in kinds.items() if not path]
        self.paths = {kind: path for kind, path in kinds.items() if path}
        self.root_path = _root_path(spec, rootfs, bundle)
        if not spec.get("process"):
            raise InvalidArgument("config.json: process must not be empty")

    @property
    def clone_flags(self) -> int:
        """Namespaces made by clone3."""
        flags = 0
        for kind in self.new_namespaces:
            if kind not in _UNSHARED:
                flags |= NAMESPACE_FLAGS[kind]
        return flags

    @property
    def in_user_namespace(self) -> bool:
        """Whether the container has a user namespace other than ours."""
        return "user" in self.paths or "user" in self.new_namespaces

    @property
    def maps(self) -> IdMaps | None:
        """The id maps the spec names, None when it names none."""
        linux = self.spec.get("linux") or {}
        if not linux.get("uidMappings"):
            return None
        from corten.oci import idmap

        return idmap.parse(linux["uidMappings"], linux.get("gidMappings"), "linux")


def _root_path(spec: dict[str, Any], rootfs: Sequence[dict[str, Any]], bundle: str) -> str:
    if rootfs:
        if rootfs[0]["target"] != "/":
            raise InvalidArgument("rootfs: the first mount's target must be /")
        return ""
    path = (spec.get("root") or {}).get("path")
    if not path:
        raise InvalidArgument("config.json: root.path must not be empty")
    return str(path) if path.startswith("/") else f"{bundle or '.'}/{path}"


class ExecRequest:
    """Another process in a running container.

    ``pid`` and ``pidfd`` of the container's first process · ``process`` OCI process object · ``cgroup`` its group ·
    ``seccomp`` compiled filter, b"" for none, ``seccomp_flags`` those of seccomp(2) · ``personality`` the container's
    execution domain · ``new_keyring`` a session keyring of its own · ``kinds`` CLONE_NEW* of the namespaces to join,
    -1 to find out (:func:`corten.runtime.exec.kinds_to_join`).
    """

    __slots__ = (
        "cgroup", "kinds", "new_keyring", "personality", "pid", "pidfd", "preserve", "process", "seccomp",
        "seccomp_flags", "stderr", "stdin", "stdout",
    )  # fmt: skip

    def __init__(self, *, pid: int, pidfd: int, process: dict[str, Any], stdin: int = 0, stdout: int = 1,
                 stderr: int = 2, cgroup: Group | None = None, seccomp: bytes = b"",
                 seccomp_flags: int = 0, preserve: int = 0, personality: str = "",
                 new_keyring: bool = True, kinds: int = -1) -> None:  # fmt: skip
        document.validate_process(process)
        self.pid = pid
        self.pidfd = pidfd
        self.process = process
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.cgroup = cgroup
        self.seccomp = seccomp
        self.seccomp_flags = seccomp_flags
        self.preserve = preserve
        self.personality = personality
        self.new_keyring = new_keyring
        self.kinds = kinds
