"""corten-runtime exec: one more process in a running container, from the flags or a process document."""

from __future__ import annotations

from corten import errors
from corten.cgroup.group import Group
from corten.linux import process as linux_process
from corten.linux import seccomp as filters
from corten.runtime import bundle, container, handover, launch, scheduling, state
from corten.runtime.flags import Options
from corten.runtime.seccomp import cached
from corten.runtime.state import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def execute(host: Host, arguments: list[str], options: Options) -> int:
    """The process's exit code, 0 as soon as it runs with ``--detach``."""
    held = state.load(host.root, arguments[0])
    status = held.status(host.hierarchy)
    if status == "stopped":
        raise errors.Conflict("cannot exec in a stopped container")
    if status == "paused" and "ignore-paused" not in options.switches:
        raise errors.Conflict("cannot exec in a paused container (use --ignore-paused to override)")
    process = _process(held.spec, arguments[1:], options)
    console = options.values.get("console-socket") or ""
    detached = "detach" in options.switches
    launch.check_console(console, terminal=bool(process.get("terminal")), detached=detached)
    started = container.exec_in(_request(host, held, process, options))
    begun = launch.Launch(host, held, started, console)
    begun.follow(until_ready=False)
    if path := options.values.get("pidfd-socket"):
        handover.send(path, b"pidfd", started.pidfd)
    launch.write_pid(options.values.get("pid-file") or "", started.pid)
    return 0 if detached else launch.await_exit(begun)


def _request(host: Host, held: state.Container, process: dict[str, Any], options: Options) -> container.ExecRequest:
    linux = held.spec.get("linux") or {}
    profile = linux.get("seccomp")
    preserve = handover.preserved(options, process)
    pidfd = linux_process.pidfd_open(held.pid)
    if not held.alive():  # after pidfd_open: the descriptor and the answer are about the same process
        raise errors.Conflict("cannot exec in a stopped container")
    request = container.ExecRequest(
        pid=held.pid,
        pidfd=pidfd,
        process=process,
        cgroup=_group(held, host, options),
        seccomp=cached(profile, f"{host.root}/.seccomp") if profile else b"",
        seccomp_flags=filters.filter_flags(profile) if profile else 0,
        preserve=preserve,
        personality=(linux.get("personality") or {}).get("domain") or "",
        new_keyring=not held.document["no_new_keyring"],
    )
    scheduling.set_affinity(process, "initial")  # the child inherits it
    return request


def _group(held: state.Container, host: Host, options: Options) -> Group:
    below = options.lists.get("cgroup") or []
    if len(below) > 1 or any(":" in path for path in below):
        raise errors.NotSupported("exec --cgroup takes one path for all controllers")
    path = f"/{below[0].strip('/')}" if below else ""
    if ".." in path.split("/"):
        raise errors.InvalidArgument(f"--cgroup {below[0]!r} must not contain '..'")
    return Group(host.hierarchy, held.document["cgroup_path"] + path)


def _process(spec: dict[str, Any], arguments: list[str], options: Options) -> dict[str, Any]:
    """The OCI process of ``--process``, or the container's own with what the flags say."""
    if options.values.get("process-label"):
        raise errors.NotSupported("exec --process-label is not supported: SELinux is not driven yet")
    if path := options.values.get("process"):
        process = bundle.read_json(path)
        if not isinstance(process, dict):
            raise errors.InvalidArgument(f"{path}: process must be an object")
        return process
    if not arguments:
        raise errors.InvalidArgument("process args cannot be empty")
    process = {**spec["process"], "args": arguments, "terminal": "tty" in options.switches}
    process["cwd"] = options.values.get("cwd") or process.get("cwd") or "/"
    process["env"] = [*(process.get("env") or ()), *(options.lists.get("env") or ())]
    if "no-new-privs" in options.switches:
        process["noNewPrivileges"] = True
    if profile := options.values.get("apparmor"):
        process["apparmorProfile"] = profile
    if user := options.values.get("user"):
        process["user"] = {"corten.user": user}
    if gids := options.lists.get("additional-gids"):
        numbers = [_group_id(gid) for gid in gids]
        process["user"] = {**(process.get("user") or {}), "additionalGids": numbers}
    if caps := options.lists.get("cap"):
        sets = process.get("capabilities") or {}
        kinds = ("bounding", "effective", "permitted")
        process["capabilities"] = {**sets, **{kind: [*(sets.get(kind) or ()), *caps] for kind in kinds}}
    return process


def _group_id(text: str) -> int:
    """A group of ``--additional-gids``."""
    if not text.isdecimal():
        raise errors.InvalidArgument(f'invalid value "{text}" for flag -additional-gids: parse error')
    return int(text)
