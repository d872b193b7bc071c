"""``update``: other limits and another restart policy for containers that exist."""

from __future__ import annotations

from corten.cli.creation import values
from corten.cli.creation.flags import LIMITS
from corten.cli.options import Flag
from corten.cli.session import CommandFailed
from corten.client.errors import ResponseError
from corten.client.transport import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.cli.options import Options
    from corten.cli.session import Session

_CHANGEABLE: Final = (
    "blkio-weight",
    "cpu-period",
    "cpu-quota",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cpu-shares",
    "cpus",
    "cpuset-cpus",
    "cpuset-mems",
    "kernel-memory",
    "memory",
    "memory-reservation",
    "memory-swap",
    "pids-limit",
)
UPDATE_FLAGS: Final = (
    *(flag for flag in LIMITS if flag.long in _CHANGEABLE),
    Flag("restart", "", "string", "When to start the containers again"),
)
_TEXTS: Final = (("CpusetCpus", "cpuset-cpus"), ("CpusetMems", "cpuset-mems"))
_NUMBERS: Final = (
    ("BlkioWeight", "blkio-weight"), ("CpuPeriod", "cpu-period"), ("CpuQuota", "cpu-quota"),
    ("CpuRealtimePeriod", "cpu-rt-period"), ("CpuRealtimeRuntime", "cpu-rt-runtime"), ("CpuShares", "cpu-shares"),
    ("NanoCpus", "cpus"), ("KernelMemory", "kernel-memory"), ("Memory", "memory"),
    ("MemoryReservation", "memory-reservation"), ("MemorySwap", "memory-swap"), ("PidsLimit", "pids-limit"),
)  # fmt: skip


def update(session: Session, given: Options, arguments: list[str]) -> int:
    """Change each container, say which were, then what the engine could not do."""
    if not given.changed:
        raise CommandFailed("you must provide one or more flags when using this command")
    body = _body(given)
    warnings: list[str] = []
    failures: list[str] = []
    for name in arguments:
        try:
            answer = session.client.call("POST", f"/containers/{quote(name)}/update", body=body)
        except ResponseError as error:
            failures.append(str(error))
        else:
            session.print(name)
            warnings += answer.get("Warnings") or []
    if warnings:
        session.print("\n".join(warnings))
    if failures:
        raise CommandFailed("\n".join(failures))
    return 0


def _body(given: Options) -> dict[str, Any]:
    body: dict[str, Any] = {member: given.number(flag) for member, flag in _NUMBERS if flag in given.changed}
    body.update({member: given.text(flag) for member, flag in _TEXTS if flag in given.changed})
    if not body.get("PidsLimit", 1):
        del body["PidsLimit"]  # as the docker CLI: 0 changes nothing
    if given.text("restart"):
        try:
            body["RestartPolicy"] = values.restart_policy(given.text("restart"))
        except ValueError as error:
            raise CommandFailed(str(error)) from None
    return body
