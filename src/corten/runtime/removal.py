"""The end of a container that corten-runtime made: everything of it goes, then the poststop hooks hear of it."""

from __future__ import annotations

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
    group.delete()
    held.remove()
    after_the_end(host, held)


def after_the_end(host: Host, held: state.Container) -> None:
    """The poststop hooks; one that fails is a warning."""
    for text in hooks.run_all(held.spec, "poststop", held.oci_state("stopped")):
        host.warn(text)
