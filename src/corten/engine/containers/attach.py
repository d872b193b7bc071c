"""``attach``: hand a client's connection to the shim, now or with the start that is to come.

A client of a container that does not run yet is held until its ``start``, as Docker does: ``docker run`` attaches
first. With ``logs`` the container's log so far is written to the client before the shim takes the connection.
"""

import asyncio
import os
import socket

from corten.engine.containers.facts import HostFacts
from corten.engine.containers.framing import frame
from corten.engine.containers.logs import entries_of
from corten.engine.containers.notices import Notices
from corten.engine.lifecycle import Status
from corten.engine.roster import Roster
from corten.engine.shims import Shim
from corten.engine.streams import Attachment, AttachOptions, ClientStream, LogsOptions, parse_detach_keys, take_over
from corten.engine.tasks import Container
from corten.errors import Conflict, CortenError


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
        """Take the connection; returns when the client is the shim's (or waits for the start)."""
        async with self._roster.exclusive(reference) as container:
            config = container.record.config
            attachment = await take_over(client, options, terminal=config.Tty, stdin_open=config.OpenStdin)
            try:
                if options.logs:
                    await asyncio.to_thread(self._replay, container, options, attachment)
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

    def _replay(self, container: Container, options: AttachOptions, attachment: Attachment) -> None:
        """The log so far, framed as the shim will go on; blocks, so it runs in a thread."""
        path = self._facts.log_path(container.record)
        if not path:
            return
        wanted = LogsOptions(stdout=options.stdout, stderr=options.stderr)
        framed = bool(attachment.options["framed"])
        with socket.socket(fileno=os.dup(attachment.fd)) as client:
            client.setblocking(True)
            try:
                for stream, _, data, _ in entries_of(path, wanted):
                    client.sendall(frame(stream, data) if framed else data)
            finally:
                client.setblocking(False)
