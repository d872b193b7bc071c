"""What the engine may ask, one function each; the table is :data:`REQUESTS`.

A function gets the supervisor, the message, its descriptors by role (used up, whatever happens) and the reply. It
answers now, or leaves the reply to something that answers later (a birth). What it raises becomes the answer.
"""

from __future__ import annotations

import binascii
import os

from corten import errors
from corten.cgroup.group import Group
from corten.linux import process
from corten.oci.idmap import IdMaps
from corten.runtime import shift
from corten.shim import exits, freezing, task, views, zygote
from corten.shim.foreign import birth, entry, signals
from corten.shim.log import reopen_log
from corten.shim.stdio import Streams
from corten.shim.task import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final, TypeAlias

    from corten.shim.supervisor import Supervisor
    from corten.shim.zygote import Reply

    Descriptors: TypeAlias = "dict[str, list[int]]"
    Function: TypeAlias = "Callable[[Supervisor, dict[str, Any], Descriptors, Reply], None]"

_SIGKILL: Final = 9
_NAME_BYTES: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def _prepare(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    """For a start that follows on this connection, or for :func:`_give_up`. Nobody waits to hear of it."""
    _require_new(supervisor, message)
    supervisor.preparations.make(message["id"], message["cgroup"])


def _give_up(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    supervisor.preparations.give_up(message["id"])


def _start(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    _require_new(supervisor, message)
    zygote.start(supervisor, message, fds, reply)


def _start_foreign(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    """A request of its own, so that a shim from before there were other runtimes does not take it for its own."""
    _require_new(supervisor, message)
    birth.start(supervisor, message, fds, reply)


def _require_new(supervisor: Supervisor, message: dict[str, Any]) -> None:
    if (_name(message["id"]), "") in supervisor.tasks:
        raise errors.Conflict(f"container {message['id']} is in the shim already: acknowledge its exit first")


def _exec(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    target = _running(supervisor, message["id"], "")
    key = (target.id, _name(message["exec_id"]))
    if key in supervisor.tasks:
        raise errors.Conflict(f"exec {message['exec_id']} is in the shim already")
    begin = zygote.run_in if target.runtime is None else entry.run_in
    begin(supervisor, target, message, fds, reply)


def _probe(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    """A health check: answered when it has ended, at the latest after ``seconds``."""
    target = _running(supervisor, message["id"], "")
    program = zygote.limit_files(supervisor, message["process"])
    if target.runtime is not None:
        entry.probe(supervisor, target, program, float(message["seconds"]), reply)
        return
    supervisor.probes.start(target, program, zygote.read_filter(fds), float(message["seconds"]), reply)


def _attach(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    subject = _find(supervisor, message)
    if subject.reported:
        raise errors.NotFound(f"the process of {subject.exec_id or subject.id} has ended")
    early = binascii.a2b_base64(message.get("prefix") or "")
    clients = fds.get("client") or fds.get("attach") or []
    if len(clients) != 1:
        raise errors.InvalidArgument("attach: exactly one descriptor, with the role client, is needed")
    reply.succeed({})
    subject.streams.attach(clients.pop(), message, early)


def _resize(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    _find(supervisor, message).streams.resize(int(message["height"]), int(message["width"]))
    reply.succeed({})


def _kill(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    subject = _running(supervisor, message["id"], message.get("exec_id", ""), starting=True)
    number = int(message["signal"])
    if subject.runtime is not None and not subject.starting and not message.get("all"):
        signals.send(supervisor, subject, number, reply)
        return
    try:
        if message.get("all"):
            for pid in Group(supervisor.hierarchy, subject.cgroup).pids():
                _signal_pid(pid, number)
        else:
            process.pidfd_send_signal(subject.pidfd, number)
    except ProcessLookupError:
        raise errors.NotFound(f"the process of {subject.exec_id or subject.id} has ended") from None
    if number == _SIGKILL:
        freezing.release(supervisor, subject.cgroup)
    reply.succeed({})


def _freeze(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    subject = _running(supervisor, message["id"], "")
    freezing.begin(supervisor, subject.cgroup, reply, frozen=bool(message["frozen"]))


def _frozen(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    """Which containers the kernel says are frozen."""
    containers = [subject for subject in supervisor.live() if not subject.exec_id]
    frozen = [subject.id for subject in containers if Group(supervisor.hierarchy, subject.cgroup).is_frozen()]
    reply.succeed({"ids": frozen})


def _signal_pid(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _ack(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    subject = _find(supervisor, message)
    if not subject.reported:
        raise errors.Conflict(f"{subject.exec_id or subject.id} has not ended")
    supervisor.acknowledge(subject)
    reply.succeed({})


def _adopt(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    """Take over a task of a shim that died: from the engine's descriptors, or by its pid and start time."""
    state = message["state"]
    subject = Task(
        supervisor, _name(state["id"]), _name(state.get("exec_id", "")), state["cgroup"],
        private_pids=bool(state["private_pids"]),
    )  # fmt: skip
    if subject.key in supervisor.tasks:
        raise errors.Conflict(f"{subject.exec_id or subject.id} is in the shim already")
    subject.pid, subject.start_ticks, subject.started_at = state["pid"], state["start_ticks"], state["started_at"]
    subject.outer_mounts = next(iter(fds.pop("mntns", [])), -1)
    pidfds = fds.pop("pidfd", [])
    found = pidfds[0] if pidfds else exits.identify(subject.pid, subject.start_ticks)
    subject.pidfd = -1 if found is None else found
    ours = {role: numbers[0] for role, numbers in fds.items() if role in ("stdin", "stdout", "stderr", "console")}
    fds.clear()
    subject.streams = Streams(
        supervisor.loop, subject, reopen_log(state.get("log")), is_terminal=bool(state["terminal"]),
        takes_input="stdin" in ours or (bool(state["open_stdin"]) and "console" in ours),
        stdin_once=bool(state["stdin_once"]),
    )  # fmt: skip
    subject.streams.open(**ours)
    subject.starting = False
    subject.runtime = state.get("runtime")
    supervisor.tasks[subject.key] = subject
    task.save(supervisor.state_directory, subject, state.get("log"))
    reply.succeed(subject.document())
    if subject.pidfd >= 0:
        supervisor.watch(subject)
        supervisor.alarms.arm(subject, adopted=True)
    else:
        supervisor.set_exit(subject, None)


def _pids(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    subject = _running(supervisor, message["id"], "")
    reply.succeed({"pids": Group(supervisor.hierarchy, subject.cgroup).pids()})


def _view(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    subject = supervisor.tasks.get((message["id"], ""))
    if subject is not None and subject.starting:
        raise errors.Conflict(f"container {message['id']} is being started")
    if subject is not None and (subject.runtime or {}).get("sealed"):
        raise errors.NotSupported("its runtime keeps the files of a running container where the host cannot see them")
    views.begin(supervisor, subject, message, reply)


def _namespaces(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    """A user namespace with these maps, and a network namespace of its own: for a start that follows."""
    made = shift.make_namespaces(IdMaps(message["uids"], message["gids"]), network=bool(message["network"]))
    try:
        reply.succeed({"roles": ["userns", "netns"][: len(made)]}, made)
    finally:
        _close({"made": made})


def _log_reopen(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    _find(supervisor, message).streams.reopen_log()
    reply.succeed({})


def _shutdown(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    """End the shim, only when it has nothing to look after."""
    if supervisor.tasks:
        raise errors.Conflict(f"the shim still has {len(supervisor.tasks)} containers and execs")
    reply.succeed({})
    supervisor.loop.stop()


REQUESTS: Final[Mapping[str, Function]] = {
    "prepare": _prepare,
    "give_up": _give_up,
    "start": _start,
    "start_foreign": _start_foreign,
    "exec": _exec,
    "probe": _probe,
    "attach": _attach,
    "resize": _resize,
    "kill": _kill,
    "ack": _ack,
    "adopt": _adopt,
    "pids": _pids,
    "namespaces": _namespaces,
    "freeze": _freeze,
    "frozen": _frozen,
    "view": _view,
    "log_reopen": _log_reopen,
    "shutdown": _shutdown,
}


def serve(supervisor: Supervisor, message: dict[str, Any], fds: Descriptors, reply: Reply) -> None:
    """Do one request; every error becomes its answer."""
    try:
        function = REQUESTS.get(message.get("request", ""))
        if function is None:
            raise errors.NotSupported(f"the shim does not know the request {message.get('request')!r}")
        function(supervisor, message, fds, reply)
    except errors.CortenError as error:
        reply.fail(error)
    except (KeyError, TypeError, ValueError) as error:
        reply.fail(errors.InvalidArgument(f"{message.get('request')}: {type(error).__name__} {error}"))
    except OSError as error:
        reply.fail(errors.RuntimeFailure(str(error).lower()))
    finally:
        _close(fds)


def _find(supervisor: Supervisor, message: dict[str, Any]) -> Task:
    subject = supervisor.tasks.get((message["id"], message.get("exec_id", "")))
    if subject is None:
        raise errors.NotFound(f"the shim has no process {message.get('exec_id') or message['id']}")
    return subject


def _running(supervisor: Supervisor, container_id: str, exec_id: str, *, starting: bool = False) -> Task:
    subject = _find(supervisor, {"id": container_id, "exec_id": exec_id})
    if subject.exit is not None or (subject.starting and not starting):
        raise errors.NotFound(f"the process of {exec_id or container_id} does not run")
    return subject


def _name(text: str) -> str:
    """An id that can be part of a file name."""
    if len(text) > 128 or not set(text) <= _NAME_BYTES:
        raise errors.InvalidArgument(f"not an id: {text!r}")
    return text


def _close(fds: Descriptors) -> None:
    for descriptors in fds.values():
        for descriptor in descriptors:
            os.close(descriptor)
    fds.clear()
