"""Further processes in running containers (``exec``).

Owns exec instances: in memory, gone with their container. A process that runs outlives the engine (the shim is its
parent) and is found again through the shim's ``hello``; one that was only created does not, as in Docker.
"""

import os
import secrets
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from corten.api.types.exec import ExecCreate, ExecInspect, ExecProcessConfig
from corten.engine.containers.framing import frame
from corten.engine.containers.links import Links
from corten.engine.containers.notices import Notices
from corten.engine.lifecycle import Status
from corten.engine.profiles import Profiles
from corten.engine.record import UNKNOWN_EXIT, ContainerRecord
from corten.engine.roster import Roster
from corten.engine.shims import Shim
from corten.engine.spec import capabilities, defaults
from corten.engine.spec.process import overlay, user
from corten.engine.spec.security import parse_security
from corten.engine.streams import (
    Attachment,
    AttachOptions,
    ClientStream,
    ExecStartOptions,
    parse_detach_keys,
    take_over,
)
from corten.errors import Conflict, CortenError, InvalidArgument, NoSuchExec, NotFound, RuntimeFailure

KEPT_SECONDS: Final = 300.0


class Exec:
    """One exec instance; ``exit_code`` is None until it ended."""

    __slots__ = ("body", "container_id", "exit_code", "handles", "id", "pid", "running", "started")

    def __init__(self, exec_id: str, container_id: str, body: ExecCreate) -> None:
        self.id = exec_id
        self.container_id = container_id
        self.body = body
        self.started = False
        self.running = False
        self.pid = 0
        self.exit_code: int | None = None
        self.handles: dict[str, int] = {}

    def keep(self, handles: dict[str, int]) -> None:
        """Replace the descriptors kept for a shim that takes over."""
        held, self.handles = self.handles, handles
        for fd in held.values():
            os.close(fd)

    def ended(self, code: int) -> None:
        """Its process is over."""
        self.running = False
        self.pid = 0
        self.exit_code = code
        self.keep({})


class ExecService:
    """Creates, starts and reports on exec instances."""

    def __init__(self, roster: Roster, shim: Shim, links: Links, notices: Notices, profiles: Profiles) -> None:
        self._roster = roster
        self._shim = shim
        self._links = links
        self._notices = notices
        self._profiles = profiles
        self._execs: dict[str, Exec] = {}
        self._ended: deque[tuple[float, str]] = deque()

    async def create(self, reference: str, body: ExecCreate) -> str:
        """The id of a new instance.

        Raises:
            Conflict: the container does not run, or is paused.
            InvalidArgument: no command, bad detach keys or environment.
        """
        if not body.Cmd:
            raise InvalidArgument("no exec command specified")
        record = self._running(reference)
        parse_detach_keys(body.DetachKeys)
        for entry in body.Env or ():
            if entry.startswith("=") or not entry:
                raise InvalidArgument(f"invalid environment variable: {entry}")
        self._links.environment(record)  # tells now what a start could only tell on the stream
        self._expire()
        exec_id = secrets.token_hex(32)
        self._execs[exec_id] = Exec(exec_id, record.id, body)
        self._notices.container(record, f"exec_create: {' '.join(body.Cmd)}", execID=exec_id)
        return exec_id

    def _running(self, reference: str) -> ContainerRecord:
        record = self._roster.find(reference).record
        status = record.state.status
        if status is Status.PAUSED:
            raise Conflict(f"container {reference} is paused, unpause the container before exec")
        if status is Status.RESTARTING:
            raise Conflict(f"container {reference} is restarting, wait until the container is running")
        if not record.state.alive:
            raise Conflict(f"container {record.id} is not running")
        return record

    def _find(self, exec_id: str) -> Exec:
        try:
            return self._execs[exec_id]
        except KeyError:
            raise NoSuchExec(exec_id) from None

    def check_start(self, exec_id: str, options: ExecStartOptions) -> bool:
        """What can be told before the response begins; returns whether the process has a terminal."""
        found = self._find(exec_id)
        if found.exit_code is not None:
            raise Conflict(f"exec command {exec_id} has already run")
        if found.started:
            raise Conflict(f"exec command {exec_id} is already running")
        self._running(found.container_id)
        return found.body.Tty

    async def start(self, exec_id: str, options: ExecStartOptions, client: ClientStream | None = None) -> None:
        """Run it; returns once the program was exec'd. ``client`` is None when detached.

        Why a program could not be started is told on the client's stream, whose response has begun; ``inspect`` then
        gives 126 or 127.

        Raises:
            RuntimeFailure: the same of a detached one.
        """
        terminal = self.check_start(exec_id, options)
        found = self._find(exec_id)
        record = self._running(found.container_id)
        found.started = True
        attachment: Attachment | None = None
        if client is not None and not options.detach:
            attachment = await self._take(found, client)
        action = f"exec_start: {' '.join(found.body.Cmd or ())}"
        self._notices.container(record, action, execID=exec_id)
        try:
            await self._run(found, record, options, attachment, terminal=terminal)
        except CortenError as exc:
            found.ended(exc.exit_code if isinstance(exc, RuntimeFailure) else 126)
            self._ended.append((time.monotonic(), exec_id))
            if attachment is None:
                raise
            self._tell_failure(attachment, exc)
        finally:
            if attachment is not None:
                attachment.close()

    async def _take(self, found: Exec, client: ClientStream) -> Attachment:
        body = found.body
        wanted = AttachOptions(
            stdin=body.AttachStdin, stdout=body.AttachStdout, stderr=body.AttachStderr, detach_keys=body.DetachKeys
        )
        return await take_over(client, wanted, terminal=body.Tty, stdin_open=body.AttachStdin)

    def _tell_failure(self, attachment: Attachment, error: CortenError) -> None:
        """The response has begun: the client learns the reason on its stream, as from dockerd."""
        text = failure_text(error, framed=bool(attachment.options["framed"]))
        with suppress(OSError):  # a client that left needs no reason
            os.write(attachment.fd, text)

    async def _run(
        self,
        found: Exec,
        record: ContainerRecord,
        options: ExecStartOptions,
        attachment: Attachment | None,
        *,
        terminal: bool,
    ) -> None:
        body = found.body
        message: dict[str, Any] = {
            "id": record.id,
            "exec_id": found.id,
            "process": exec_process(record, body, self._links.environment(record), options.console_size),
            "terminal": terminal,
            "open_stdin": body.AttachStdin and not options.detach,
            "detach": options.detach,
            "attach": [attachment.options] if attachment else [],
        }
        profile = await self._profiles.descriptor(record.host)  # the container's filter holds for what joins it
        fds = {"attach": attachment.fd if attachment else None, "seccomp": profile}
        message["roles"] = [role for role, fd in fds.items() if fd is not None]
        found.running = True
        answer, copies = await self._shim.request("exec", message, [fd for fd in fds.values() if fd is not None])
        handles = dict(zip(answer.get("roles", ()), copies, strict=False))
        if found.exit_code is not None:  # its end overtook this answer
            for fd in handles.values():
                os.close(fd)
            return
        found.pid = int(answer["pid"])
        found.keep(handles)

    def exited(self, exec_id: str, code: int, *, unknown: bool) -> None:
        """The shim's report: remember the code, then let the shim end the attached clients."""
        found = self._execs.get(exec_id)
        if found is None:
            return
        found.ended(UNKNOWN_EXIT if unknown else code)
        self._ended.append((time.monotonic(), exec_id))
        self._shim.tell("ack", {"id": found.container_id, "exec_id": exec_id})
        container = self._roster.get(found.container_id)
        if container is not None:
            self._notices.container(container.record, "exec_die", execID=exec_id, exitCode=str(found.exit_code))

    def adopt(self, container_id: str, exec_id: str, pid: int) -> None:
        """An exec that an earlier engine started and the shim still supervises."""
        found = self._execs.setdefault(exec_id, Exec(exec_id, container_id, ExecCreate()))
        found.started = found.running = True
        found.pid = pid

    def keep(self, exec_id: str, handles: dict[str, int]) -> bool:
        """Descriptors handed over by the shim; False when the exec is unknown (they stay the caller's)."""
        found = self._execs.get(exec_id)
        if found is None:
            return False
        found.keep(handles)
        return True

    def forget(self, container_id: str) -> None:
        """The container is gone, and its execs with it."""
        for found in [item for item in self._execs.values() if item.container_id == container_id]:
            found.keep({})
            del self._execs[found.id]

    def _expire(self) -> None:
        """Forget instances that ended long ago; each stays for five minutes, so that its exit code can be asked for."""
        limit = time.monotonic() - KEPT_SECONDS
        while self._ended and self._ended[0][0] < limit:
            self._execs.pop(self._ended.popleft()[1], None)

    def of(self, container_id: str) -> list[str]:
        """The instances of a container that did not end."""
        return [
            found.id for found in self._execs.values() if found.container_id == container_id and found.exit_code is None
        ]

    def held(self) -> dict[tuple[str, str], dict[str, int]]:
        """Descriptors by (container, exec), for a shim that takes over."""
        return {(found.container_id, found.id): found.handles for found in self._execs.values() if found.running}

    @property
    def any_running(self) -> bool:
        """Whether the shim has an exec to look after."""
        return any(found.running for found in self._execs.values())

    async def inspect(self, exec_id: str) -> ExecInspect:
        """``GET /exec/{id}/json``."""
        found = self._find(exec_id)
        body = found.body
        command = body.Cmd or []
        return ExecInspect(
            ID=found.id,
            Running=found.running,
            ExitCode=found.exit_code,
            ProcessConfig=ExecProcessConfig(
                tty=body.Tty,
                entrypoint=command[0] if command else "",
                arguments=list(command[1:]),
                privileged=body.Privileged,
                user=body.User,
            ),
            OpenStdin=body.AttachStdin,
            OpenStdout=body.AttachStdout,
            OpenStderr=body.AttachStderr,
            CanRemove=False,
            ContainerID=found.container_id,
            DetachKeys=body.DetachKeys,
            Pid=found.pid,
        )

    async def resize(self, exec_id: str, height: int, width: int) -> None:
        """The terminal's size in characters."""
        found = self._find(exec_id)
        if not found.running:
            raise Conflict(f"exec process {exec_id} is not running")
        fields = {"id": found.container_id, "exec_id": exec_id, "height": height, "width": width}
        try:
            await self._shim.request("resize", fields)
        except NotFound:
            return


def exec_process(
    record: ContainerRecord, body: ExecCreate, linked: Sequence[str], console: tuple[int, int] | None
) -> dict[str, Any]:
    """OCI ``process`` of an exec: the container's environment (``linked`` is that of --link) and limits, the exec's
    own user, directory and privileges; pure.
    """
    host, config = record.host, record.config
    caps = capabilities.effective(host.CapAdd or (), host.CapDrop or (), privileged=host.Privileged or body.Privileged)
    security = parse_security(host.SecurityOpt or (), no_new_privileges=False)
    terminal = ["TERM=xterm"] if body.Tty else []
    base = [f"PATH={defaults.PATH}", f"HOSTNAME={config.Hostname}", *terminal, *linked]
    document: dict[str, Any] = {
        "terminal": body.Tty,
        "user": user(body.User or config.User, () if body.User else host.GroupAdd or ()),
        "args": list(body.Cmd or ()),
        "env": overlay(overlay(base, config.Env or ()), body.Env or ()),
        "cwd": body.WorkingDir or config.WorkingDir or "/",
        "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
        "noNewPrivileges": security.no_new_privileges,
    }
    document["apparmorProfile"] = security.apparmor_profile
    size = console or body.ConsoleSize
    if body.Tty and size and any(size):
        document["consoleSize"] = {"height": size[0], "width": size[1]}
    return document


def failure_text(error: CortenError, *, framed: bool) -> bytes:
    """What an attached client of a failed exec reads on stdout; pure."""
    reason = "" if isinstance(error, InvalidArgument) else "OCI runtime exec failed: exec failed: "
    text = f"{reason}{error}\r\n".encode()
    return frame("stdout", text) if framed else text
