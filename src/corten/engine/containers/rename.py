"""``rename``: another name, committed before it is believed."""

import msgspec

from corten.engine.containers.notices import Notices
from corten.engine.names import check_name
from corten.engine.networks.service import NetworkService
from corten.engine.roster import Roster
from corten.engine.tasks import Container
from corten.errors import InvalidArgument


async def rename(roster: Roster, networks: NetworkService, notices: Notices, container: Container, name: str) -> None:
    """Give a container that is held exclusively another name.

    Raises:
        InvalidArgument: no name, or its own.
        NameInUse: another container's.
    """
    if not name.removeprefix("/"):
        raise InvalidArgument("Neither old nor new names may be empty")
    old = container.record.name
    try:
        new = check_name(name if name.startswith("/") else f"/{name}")
    except InvalidArgument as exc:
        raise InvalidArgument(f"Error when allocating new name: {exc}") from None
    if new == old:
        raise InvalidArgument("Renaming a container with the same name as its current name")
    roster.reserve_name(new, container.id)
    try:
        await roster.update(container, msgspec.structs.replace(container.record, name=new), durable=True)
    except BaseException:
        roster.free_name(new, container.id)
        raise
    roster.free_name(old, container.id)
    networks.renamed(container.id, new)
    notices.container(container.record, "rename", oldName=f"/{old}")
