"""``--link`` on the default bridge: which container knows which other one by which alias.

A link is part of the record of the container that has it (:class:`corten.engine.record.Link`). Owns the lines of
/etc/hosts that follow a linked container's address, and ``PARENT/ALIAS`` as another name of the linked container.
"""

import logging

import msgspec

from corten.engine.config import EngineConfig
from corten.engine.networks.record import EndpointRecord
from corten.engine.record import ContainerRecord, Link
from corten.engine.roster import Roster, short
from corten.engine.spec import links as words
from corten.engine.tasks import Container
from corten.errors import CortenError, InvalidArgument, NoSuchContainer
from corten.network.model import BRIDGE
from corten.network.ports import exposed_ports

logger = logging.getLogger(__name__)


class Links:
    """The links of one engine's containers."""

    def __init__(self, config: EngineConfig, roster: Roster) -> None:
        self._config = config
        self._roster = roster

    def register(self, record: ContainerRecord) -> tuple[Link, ...]:
        """The links a new container asks for; of two with one alias the first counts.

        Raises:
            InvalidArgument: no such container, or one that has no address; Docker's text.
        """
        chosen: dict[str, Link] = {}
        for text in record.host.Links or ():
            reference, alias = words.parse_link(text)
            if not alias:
                continue
            try:
                target = self._target(reference)
            except CortenError as exc:
                raise InvalidArgument(f"could not get container for {reference}: {exc}") from exc
            if target.host.NetworkMode == "host":
                raise InvalidArgument(
                    "conflicting options: host type networking can't be used with links. "
                    "This would result in undefined behavior"
                )
            chosen.setdefault(alias, Link(alias, target.id, target.name))
        return tuple(chosen.values())

    def _target(self, reference: str) -> ContainerRecord:
        record = self._roster.find(reference).record
        while record.host.NetworkMode.startswith("container:"):
            record = self._roster.find(record.host.NetworkMode.removeprefix("container:")).record
        return record

    def hosts(self, record: ContainerRecord) -> list[tuple[str, str]]:
        """(names, address) of the linked containers.

        Raises:
            CortenError: one does not run, or is not on the bridge; Docker's text.
        """
        found = []
        for link in self._effective(record):
            target, endpoint = self._running(record, link)
            found.append((_names(link, target), endpoint.ip))
        return found

    def environment(self, record: ContainerRecord) -> list[str]:
        """The variables that tell about the linked containers; raises as :meth:`hosts`."""
        found: list[str] = []
        for link in self._effective(record):
            target, endpoint = self._running(record, link)
            ports = exposed_ports([*(target.config.ExposedPorts or ())])
            path = f"/{record.name}/{link.alias}"
            found += words.variables(path, link.alias, endpoint.ip, ports, target.config.Env or ())
        return found

    def _effective(self, record: ContainerRecord) -> tuple[Link, ...]:
        return record.links if record.host.NetworkMode == BRIDGE else ()

    def _running(self, record: ContainerRecord, link: Link) -> tuple[ContainerRecord, EndpointRecord]:
        target = self._roster.get(link.container_id)
        if target is None or not target.record.state.alive:
            name = target.record.name if target else link.name
            raise CortenError(f"Cannot link to a non running container: /{name} AS /{record.name}/{link.alias}")
        if target.record.network is None or target.record.network.mode != BRIDGE:
            raise CortenError(f"container {target.id} not attached to default bridge network")
        return target.record, target.record.network

    def shown(self, record: ContainerRecord) -> list[str] | None:
        """``HostConfig.Links`` of inspect."""
        found = []
        for link in record.links:
            target = self._roster.get(link.container_id)
            found.append(f"/{target.record.name if target else link.name}:/{record.name}/{link.alias}")
        return found or None

    def aliases(self) -> dict[str, list[str]]:
        """``/PARENT/ALIAS`` by the id of the linked container."""
        found: dict[str, list[str]] = {}
        for container in self._roster:
            for link in container.record.links:
                found.setdefault(link.container_id, []).append(f"/{container.record.name}/{link.alias}")
        return found

    def moved(self, record: ContainerRecord) -> None:
        """A container runs at a new address: those that link to it and run learn it."""
        if record.network is None or not record.network.ip:
            return
        for parent in self._roster:
            for link in parent.record.links:
                if link.container_id == record.id and parent.record.state.alive:
                    self._rewrite(parent.record, link, f"{record.network.ip}\t{_names(link, record)}\n")

    async def remove(self, reference: str) -> None:
        """``rm --link PARENT/ALIAS``.

        Raises:
            CortenError: a plain name; Docker's text.
            NoSuchContainer: no such link.
        """
        parent_name, slash, alias = reference.removeprefix("/").rpartition("/")
        if not slash:
            self._roster.find(reference)
            raise CortenError("Conflict, cannot remove the default link name of the container")
        if not self._roster.has_name(parent_name):
            raise NoSuchContainer(reference)
        async with self._roster.exclusive(parent_name) as parent:
            link = _named(parent, alias)
            if link is None:
                raise NoSuchContainer(reference)
            kept = tuple(other for other in parent.record.links if other is not link)
            await self._roster.update(parent, msgspec.structs.replace(parent.record, links=kept), durable=True)
            if parent.record.state.alive:
                self._rewrite(parent.record, link, "")

    def _rewrite(self, parent: ContainerRecord, link: Link, line: str) -> None:
        """In place: the container has this very file mounted."""
        path = f"{self._config.container_directory(parent.id)}/hosts"
        try:
            with open(path, "r+", encoding="utf-8", errors="surrogateescape") as file:
                text = words.rewrite_hosts(file.read(), link.alias, line)
                file.seek(0)
                file.truncate()
                file.write(text)
        except OSError as exc:
            logger.warning("/etc/hosts of container %s keeps an old address: %s", parent.id, exc.strerror)


def _names(link: Link, target: ContainerRecord) -> str:
    return words.hosts_names(link.alias, target.config.Hostname or short(target.id), target.name)


def _named(parent: Container, alias: str) -> Link | None:
    return next((link for link in parent.record.links if link.alias == alias), None)
