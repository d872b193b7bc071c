"""``attach``: hand a client's connection to the shim, now or with the start that is to come.

A client of a container that does not run yet is held until its ``start``, as Docker does: ``docker run`` attaches
first. With ``logs`` the container's log so far is written to the client before the shim takes the connection.
"""

import asyncio
import os
import socket
from typing import Final

from corten.engine.containers.facts import HostFacts
from corten.engine.containers.framing import frame
from corten.engine.containers.notices import Notices
from corten.engine.lifecycle import Status
from corten.engine.roster import Roster
from corten.engine.shims import Shim
from corten.engine.streams import Attachment, AttachOptions, ClientStream, parse_detach_keys, take_over
from corten.engine.tasks import Container
from corten.errors import Conflict, CortenError
from corten.logs.json_file import STREAMS
from corten.logs.reader import Follower

#: Seconds for what was logged between the replay and the moment the container is held.
_PATIENCE: Final = 2.0


class Attacher:
    """Connects clients with first processes."""

    def __init__(self, roster: Roster, shim: Shim, facts: HostFacts, notices: Notices) -> None:
        self._roster = roster
        self._shim = shim
        self._facts = facts
        self._notices = notices

    def check(self, reference: str, options: AttachOptions) -> bool:
        """What can be told before the response begins; returns whether the container has a terminal.

        Raises:
            CortenError: no such container, one whose state forbids it, or bad detach keys.
        """
        container = self._roster.find(reference)
        parse_detach_keys(options.detach_keys)
        status = container.record.state.status
        if status is Status.PAUSED:
            raise Conflict(f"container {reference} is paused, unpause the container before attach")
        if status is Status.RESTARTING:
            raise Conflict(f"container {reference} is restarting, wait until the container is running")
        return container.record.config.Tty

    async def attach(self, reference: str, options: AttachOptions, client: ClientStream) -> None:
        """Take the connection; returns when the client is the shim's (or waits for the start).

        A log is written to the client before the container is held, because the client may be slow; what was added
        meanwhile comes while it is held, and a client that does not take that little is let go.
        """
        if not options.logs:
            async with self._roster.exclusive(reference) as container:
                await self._join(container, options, await self._take(container, options, client))
            return
        container = self._roster.find(reference)
        began = container.record.state.alive
        attachment = await self._take(container, options, client)
        path = self._facts.log_path(container.record)
        replay = _Replay(path, options, attachment) if path else None
        try:
            if replay is not None:
                await replay.send()
            async with self._roster.exclusive(reference) as container:
                if replay is not None:
                    await asyncio.wait_for(replay.send(), _PATIENCE)
                if began and not container.record.state.alive:
                    attachment.close()  # it has seen the end; another life of the container is not what it asked for
                else:
                    await self._join(container, options, attachment)
        except (OSError, TimeoutError):
            attachment.close()
        except BaseException:
            attachment.close()
            raise
        finally:
            if replay is not None:
                replay.close()

    async def _take(self, container: Container, options: AttachOptions, client: ClientStream) -> Attachment:
        config = container.record.config
        return await take_over(client, options, terminal=config.Tty, stdin_open=config.OpenStdin)

    async def _join(self, container: Container, options: AttachOptions, attachment: Attachment) -> None:
        try:
            if options.stream:
                await self._hand_over(container, attachment)
        except BaseException:
            attachment.close()
            raise
        if not options.stream:
            attachment.close()
        self._notices.container(container.record, "attach")

    async def _hand_over(self, container: Container, attachment: Attachment) -> None:
        if not container.record.state.alive:
            container.pending.append(attachment)
            return
        fields = {"id": container.id, **attachment.options}
        try:
            await self._shim.request("attach", fields, [attachment.fd])
        except CortenError:
            if container.record.state.alive:
                raise
        attachment.close()


class _Replay:
    """The log so far, framed as the shim will go on; no thread waits for the client."""

    def __init__(self, path: str, options: AttachOptions, attachment: Attachment) -> None:
        self._follower = Follower(path)
        self._wanted = {name for name in STREAMS if getattr(options, name)}
        self._framed = bool(attachment.options["framed"])
        self._client = socket.socket(fileno=os.dup(attachment.fd))
        self._client.setblocking(False)

    async def send(self) -> None:
        """Everything that is in the log by now.

        Raises:
            OSError: the client is gone.
        """
        loop = asyncio.get_running_loop()
        while True:
            reading = loop.run_in_executor(None, self._follower.poll)
            entries = await asyncio.shield(reading)
            if not entries:
                return
            pieces = [
                frame(stream, data) if self._framed else data
                for stream, _, data, _ in entries
                if stream in self._wanted
            ]
            await loop.sock_sendall(self._client, b"".join(pieces))

    def close(self) -> None:
        """Give back what is ours; the attachment has its own descriptor."""
        self._follower.close()
        self._client.close()
