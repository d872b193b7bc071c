"""``--systemd-cgroup``: containers whose cgroup is a scope of systemd's (:mod:`corten.cgroup.scope`).

Imported by those who have one: it brings D-Bus along.
"""

from __future__ import annotations

from corten.cgroup import scope
from corten.errors import Unavailable
from corten.runtime import state
from corten.runtime.state import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def place(spec: dict[str, Any], identifier: str) -> scope.Scope:
    """Where ``linux.cgroupsPath`` wants it. Raises InvalidArgument."""
    return scope.parse((spec.get("linux") or {}).get("cgroupsPath") or "", identifier)


def begin(host: Host, held: state.Container, wanted: scope.Scope) -> scope.Placeholder:
    """Start the scope, with the limits systemd keeps and a process that holds it open until the container's is in it.

    Raises RuntimeFailure or Unavailable.
    """
    limits = scope.properties((held.spec.get("linux") or {}).get("resources") or {}, host.hierarchy.version)
    placeholder = scope.Placeholder()
    try:
        held.document["systemd_unit"] = wanted.unit
        scope.start(wanted, f"container {held.id}", limits, placeholder.pid)
    except BaseException:
        placeholder.end()
        raise
    return placeholder


def change(host: Host, unit: str, resources: dict[str, Any]) -> None:
    """Let systemd know of other limits, which it would take back else when it reloads."""
    scope.change(unit, scope.properties(resources, host.hierarchy.version))


def end(host: Host, unit: str) -> None:
    """Stop the unit; without systemd there is none, and that is a warning."""
    try:
        scope.stop(unit)
    except Unavailable as error:
        host.warn(str(error))
