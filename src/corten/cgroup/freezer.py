"""Freezing a group: asked for, looked at, waited for - the v1 freezer controller or v2's ``cgroup.freeze``.

Freezing takes as long as the slowest process needs to leave the kernel. :func:`ask` never waits, for callers with a
loop of their own; :func:`settle` does.
"""

from __future__ import annotations

import errno
import time

from corten.cgroup.hierarchy import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from corten.cgroup.group import Group

#: How long a group may take, and how often it is looked at meanwhile.
PATIENCE: Final = 2.0
PAUSE: Final = 0.005


def ask(group: Group, *, frozen: bool) -> bool:
    """Tell the kernel what is wanted; whether it is so already.

    To be repeated until it is: a v1 group that is FREEZING while its processes fork needs the write again
    (freezer-subsystem.rst). Raises OSError where the host has no freezer or the group is gone.
    """
    file, is_v2 = _file(group)
    write(file, ("1" if frozen else "0") if is_v2 else ("FROZEN" if frozen else "THAWED"))
    return _state(group) == ("frozen" if frozen else "thawed")


def is_frozen(group: Group) -> bool:
    """Whether freezing is in force, or under way on v1."""
    try:
        return _state(group) in ("frozen", "freezing")
    except OSError:
        return False


def settle(group: Group, *, frozen: bool) -> None:
    """Ask until the kernel says that it is so; a group that cannot be frozen is thawed again before EBUSY is raised."""
    deadline = time.monotonic() + PATIENCE
    while not ask(group, frozen=frozen):
        if time.monotonic() > deadline:
            if frozen:
                ask(group, frozen=False)
            raise OSError(errno.EBUSY, "the group could not be frozen" if frozen else "the group could not be thawed")
        time.sleep(PAUSE)


def _file(group: Group) -> tuple[str, bool]:
    """The file that is written, and whether it is v2's: also on a hybrid host without the v1 controller."""
    directory = group.directory("freezer") if group.hierarchy.version == 1 else ""
    if directory:
        return f"{directory}/freezer.state", False
    if group.unified:
        return f"{group.unified}/cgroup.freeze", True
    raise OSError(errno.EOPNOTSUPP, "this host has no freezer controller")


def _state(group: Group) -> str:
    """``frozen``, ``freezing`` or ``thawed``."""
    file, is_v2 = _file(group)
    if not is_v2:
        return _read(file).strip().lower()
    events = _read(f"{group.unified}/cgroup.events").splitlines()
    return "frozen" if "frozen 1" in events else "thawed"


def _read(file: str) -> str:
    with open(file, encoding="ascii") as opened:
        return opened.read()
