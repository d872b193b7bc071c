"""The end of a container that corten-runtime made: everything of it goes, then the poststop hooks hear of it."""

from __future__ import annotations

from corten.cgroup.group import Group
from corten.errors import Conflict
from corten.runtime import hooks, state
from corten.runtime.state import Host


def delete(host: Host, held: state.Container, *, force: bool) -> None:
    """Remove a container that has ended or never began; with ``force`` end it first."""
    status = held.status(host.hierarchy)
    if status not in ("stopped", "created") and not force:
        raise Conflict(f"cannot delete container {held.id} that is not stopped: {status}")
    if status != "stopped":
        held.group(host.hierarchy).kill()
        held.await_end()
    destroy(host, held)


def destroy(host: Host, held: state.Container) -> None:
    """The group with whatever still runs in it, and the directory."""
    group = held.group(host.hierarchy)
    group.kill()
    delete_group(host, held, group)
    held.remove()
    after_the_end(host, held)


def delete_group(host: Host, held: state.Container, group: Group) -> None:
    """A group whose processes are dead; one that is systemd's goes with its unit."""
    if held.unit:
        end_scope(host, held.unit)
    group.delete()


def end_scope(host: Host, unit: str) -> None:
    """Stop a unit of systemd's."""
    from corten.runtime import scopes

    scopes.end(host, unit)


def after_the_end(host: Host, held: state.Container) -> None:
    """The poststop hooks; one that fails is a warning."""
    for text in hooks.run_all(held.spec, "poststop", held.oci_state("stopped")):
        host.warn(text)
