"""``start``: from a committed record to a running first process.

 (1) the table allows it                         (6) commit the network: an engine killed from here on finds
 (2) wish for a network, beside (3) and (4)          the container in the shim, and what it has in the record
 (3) sources of binds exist, volumes are found   (7) tell the shim; it answers when the program was exec'd
 (4) the document, and the shim begins already   (8) commit the running state
     with the cgroup; seccomp is compiled        (9) keep the descriptors for a shim that may have to take over
 (5) hosts, hostname, resolv.conf are written   (10) say so (event ``start``), begin to check its health

Nothing here syncs a file. A failure before (8) gives back the network, ends the clients that waited attached, and
leaves the status as it was with the reason in ``State.Error`` and the exit code a shell would give. A start that a
restart policy asked for and that fails leaves the container exited.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from typing import Any, Final

import msgspec

from corten.engine import accelerators
from corten.engine.config import EngineConfig, RuntimeConfig
from corten.engine.containers import logging
from corten.engine.containers.facts import HostFacts
from corten.engine.containers.links import Links
from corten.engine.containers.notices import Notices
from corten.engine.lifecycle import Event, advance
from corten.engine.networks.service import NetworkService, Sandbox
from corten.engine.profiles import Profiles
from corten.engine.record import ContainerRecord
from corten.engine.roster import Roster
from corten.engine.runtimes import Runtimes
from corten.engine.shims import Shim
from corten.engine.spec import document, foreign
from corten.engine.tasks import Container
from corten.engine.userns import UserNamespaces
from corten.engine.volumes import VolumeService
from corten.errors import CortenError, RuntimeFailure
from corten.storage.snapshot import Snapshotter
from corten.storage.trees import Mount

START_FAILED: Final = 128
_FILES: Final = ("hostname", "hosts", "resolv.conf")


class Starter:
    """Starts containers that their caller holds exclusively."""

    def __init__(
        self,
        config: EngineConfig,
        roster: Roster,
        shim: Shim,
        networks: NetworkService,
        volumes: VolumeService,
        snapshotter: Snapshotter,
        profiles: Profiles,
        facts: HostFacts,
        links: Links,
        user_namespaces: UserNamespaces,
        runtimes: Runtimes,
        notices: Notices,
        begin_checks: Callable[[Container], None],
    ) -> None:
        self._config = config
        self._roster = roster
        self._shim = shim
        self._networks = networks
        self._volumes = volumes
        self._snapshotter = snapshotter
        self._profiles = profiles
        self._facts = facts
        self._links = links
        self._user_namespaces = user_namespaces
        self._runtimes = runtimes
        self._notices = notices
        self._begin_checks = begin_checks

    async def start(self, container: Container, *, fresh: bool = True) -> None:
        """Start it; see the module's list. ``fresh``: its restart policy begins to count anew.

        Raises:
            CortenError: why not; the record then says so too.
        """
        advance(container.record.state.status, Event.START)  # (1)
        try:
            async with container.view.shut():
                await self._start(container, fresh=fresh)
        except CortenError as exc:
            await self._failed(container, exc)
            raise

    async def _start(self, container: Container, *, fresh: bool) -> None:
        record = container.record.fresh() if fresh else container.record
        with ExitStack() as held:  # descriptors, ours until the shim has copies
            async with AsyncExitStack() as undo:
                made = undo.enter_context(ExitStack())
                own = await self._user_namespaces.open(record, held)  # (2)
                request = self._facts.network_request(record)
                wish = asyncio.ensure_future(self._networks.attach(request, own.netns if own else None))
                undo.push_async_callback(self._give_back, record.id, wish)
                record = msgspec.structs.replace(record, id_map=own.maps if own else None)
                await self._volumes.prepare_sources(record.mounts)  # (3)
                message = await self._message(container, record, request.driver_mode, made)  # (4)
                if "runtime" not in message:
                    self._shim.suggest("prepare", {"id": record.id, "cgroup": message["cgroup"]})
                    made.callback(self._shim.tell, "give_up", {"id": record.id})
                profile = await self._profiles.descriptor(record.host)
                sandbox = await wish
                held.callback(sandbox.close)
                self._write_files(record, sandbox)  # (5)
                record = msgspec.structs.replace(record, network=sandbox.record)
                await self._roster.update(container, record)  # (6)
                joined: dict[str, int | None] = {**self._facts.namespaces(record, held)}
                if own is not None:
                    joined[document.USERNS] = own.userns
                pending = [attachment for attachment in container.take_pending() if not attachment.hung_up()]
                for attachment in pending:
                    held.callback(attachment.close)
                fds, roles = _descriptors({"netns": sandbox.netns_fd, "seccomp": profile, **joined})
                message["roles"] = [*roles, *("attach" for _ in pending)]
                message["attach"] = [attachment.options for attachment in pending]
                name = "start_foreign" if "runtime" in message else "start"
                answer, copies = await self._shim.request(name, message, [*fds, *(one.fd for one in pending)])  # (7)
                await self._started(container, sandbox, answer, copies)
                undo.pop_all()
        self._links.moved(container.record)
        self._notices.mounts(container.record, "mount")
        self._notices.container(container.record, "start")  # (10)
        self._begin_checks(container)

    async def _started(self, container: Container, sandbox: Sandbox, answer: dict[str, Any], copies: list[int]) -> None:
        state = container.record.state.started(answer["pid"], answer["started_at"], answer["start_ticks"])
        record = msgspec.structs.replace(container.record, state=state, network=sandbox.record)
        container.keep(
            dict(zip(answer.get("roles", ()), copies, strict=False))
        )  # (9) before (8): a failed commit closes them
        await self._roster.update(container, record)  # (8)

    async def _give_back(self, container_id: str, wish: "asyncio.Future[Sandbox]") -> None:
        try:
            await wish
        except CortenError:
            return
        await self._networks.release(container_id)

    async def _failed(self, container: Container, error: CortenError) -> None:
        for attachment in container.take_pending():
            attachment.close()
        code = error.exit_code if isinstance(error, RuntimeFailure) else START_FAILED
        state = container.record.state.failed(str(error), code)
        await self._roster.update(container, msgspec.structs.replace(container.record, state=state, network=None))

    def _write_files(self, record: ContainerRecord, sandbox: Sandbox) -> None:
        if sandbox.files is None:
            return
        directory = self._config.container_directory(record.id)
        if not os.path.isdir(f"{directory}/log"):
            os.makedirs(f"{directory}/log", 0o700)  # as its tree: the record outlived it in a power cut
        texts = (sandbox.files.hostname, sandbox.files.hosts, sandbox.files.resolv_conf)
        for name, text in zip(_FILES, texts, strict=True):
            with open(f"{directory}/{name}", "wb", buffering=0) as file:
                file.write(text.encode())

    def _rootfs(self, record: ContainerRecord, mounts: Sequence[Mount]) -> list[dict[str, Any]]:
        """In a user namespace the data root is shown with the container's ids while its layers are mounted."""
        shown = [dict(mount) for mount in mounts]
        if record.id_map is not None:
            shown[0]["idmap"] = self._config.data_root
        return shown

    async def _message(
        self, container: Container, record: ContainerRecord, mode: str, made: ExitStack
    ) -> dict[str, Any]:
        host = record.host
        if container.rootfs is None:
            # The record is durable, its tree is not: after a power cut it may have to be made again.
            container.rootfs = await asyncio.to_thread(
                self._snapshotter.prepare, record.id, record.chain, record.tree_limit
            )
        log = self._facts.log(record)
        if "sink" in log:
            await asyncio.to_thread(logging.connect, log)
        identity = document.Identity(args=record.command, config=record.config, host=host, mounts=record.mounts)
        spec = document.build(identity, self._facts.of(record, mode, made), self._config)
        requests = host.DeviceRequests or ()
        if requests:
            await asyncio.to_thread(accelerators.inject, spec, requests, self._config.cdi_spec_directories)
        init = self._config.default_init if host.Init is None else host.Init
        runtime = self._runtimes.find(host.Runtime)
        other = await self._adapt(spec, record, runtime, init=init) if runtime is not None else {}
        return {
            **other,
            "id": record.id,
            "spec": spec,
            "rootfs": self._rootfs(record, container.rootfs),
            "terminal": record.config.Tty,
            "open_stdin": record.config.OpenStdin,
            "stdin_once": record.config.StdinOnce,
            "init": init,
            "cgroup": {"path": spec["linux"]["cgroupsPath"], "resources": spec["linux"]["resources"]},
            "log": log,
        }

    async def _adapt(
        self, spec: dict[str, Any], record: ContainerRecord, runtime: RuntimeConfig, *, init: bool
    ) -> dict[str, Any]:
        """What a runtime that is not our own needs; the additional fields of the message."""
        program = self._runtimes.init() if init else ""
        foreign.check(runtime, user_namespace=record.id_map is not None, wants_init=init, init=program)
        foreign.adapt(spec, seccomp=await self._profiles.document(record.host), init=program)
        return {"runtime": self._runtimes.document(runtime)}


def _descriptors(named: dict[str, int | None]) -> tuple[list[int], list[str]]:
    given = {role: fd for role, fd in named.items() if fd is not None}
    return list(given.values()), list(given)
