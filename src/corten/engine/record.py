"""A container as it is kept on disk: one frozen struct, one row of the database, nothing live in it.

A use case makes a changed copy (``msgspec.structs.replace``) and commits it; the copy in memory is always the one
committed last. Unknown fields of a newer engine are dropped on load, missing ones take their defaults.
"""

from typing import Final

import msgspec

from corten.api.types.container import ContainerConfig, HostConfig
from corten.api.types.network import NetworkingConfig
from corten.engine.health.checks import UNHEALTHY, Health
from corten.engine.lifecycle import ACTIVE, ALIVE, Event, Status, advance
from corten.engine.mounts import MountPoint
from corten.engine.networks.record import EndpointRecord
from corten.engine.spec.storage import tree_limit
from corten.oci.digest import Digest

COLLECTION: Final = "containers"
#: The exit code nobody saw: the shim that was the parent died with it.
UNKNOWN_EXIT: Final = 255


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a container is in its life. Times are ns since the epoch, 0 = never; ``start_ticks`` is /proc/PID/stat
    field 22.

    ``stop_requested`` remembers that a client sent it a signal, ``policy_over`` that its restart policy ends with this
    run (:mod:`corten.engine.policies`); ``error`` is why the last start
    failed; ``remove_volumes`` that the removal under way takes the anonymous volumes too; ``backoff_ms`` is the last
    pause before a restart, counted from ``finished_ns``; ``health`` is None without a health check; ``oom_kills`` says
    how often memory ran out in this run, or the last one, as far as clients were told.
    """

    status: Status = Status.CREATED
    pid: int = 0
    start_ticks: int = 0
    started_ns: int = 0
    finished_ns: int = 0
    exit_code: int = 0
    error: str = ""
    oom_kills: int = 0
    stop_requested: bool = False
    policy_over: bool = False
    exit_unknown: bool = False
    remove_volumes: bool = False
    backoff_ms: int = 0
    health: Health | None = None

    @property
    def alive(self) -> bool:
        """Whether a first process exists."""
        return self.status in ALIVE

    @property
    def active(self) -> bool:
        """Docker's ``Running``: alive, or about to be started again by its policy."""
        return self.status in ACTIVE

    @property
    def unhealthy(self) -> bool:
        """Whether its health check gave it up, in this run or, once it has ended, in its last."""
        return self.health is not None and self.health.status == UNHEALTHY

    @property
    def oom_killed(self) -> bool:
        """Docker's ``OOMKilled``: also while it lives on."""
        return self.oom_kills > 0

    def started(self, pid: int, started_ns: int, start_ticks: int) -> "State":
        """After its first process was exec'd."""
        status = advance(self.status, Event.START)
        return State(
            status=status,
            pid=pid,
            started_ns=started_ns,
            start_ticks=start_ticks,
            finished_ns=self.finished_ns,
            stop_requested=self.stop_requested,
            backoff_ms=self.backoff_ms,
            health=self.health.begun() if self.health is not None else None,
        )

    def exited(self, code: int, finished_ns: int, *, oom_kills: int = 0, unknown: bool = False) -> "State":
        """After its first process ended."""
        return State(
            status=advance(self.status, Event.EXIT),
            started_ns=self.started_ns,
            finished_ns=finished_ns,
            exit_code=code,
            oom_kills=oom_kills,
            stop_requested=self.stop_requested,
            policy_over=self.policy_over,
            exit_unknown=unknown,
            backoff_ms=self.backoff_ms,
            health=self.health,
        )

    def went(self, event: Event) -> "State":
        """After ``pause`` or ``unpause``: nothing but the status is another."""
        return msgspec.structs.replace(self, status=advance(self.status, event))

    def failed(self, error: str, exit_code: int) -> "State":
        """After a start that did not reach the program: the status stays what it was, but a policy gives up and leaves
        the code of the run before, as Docker has it.
        """
        if self.status is Status.RESTARTING:
            return msgspec.structs.replace(self.given_up(), error=error)
        return msgspec.structs.replace(self, error=error, exit_code=exit_code)

    def given_up(self) -> "State":
        """After a client, or a failure, ended the wait for a restart."""
        return msgspec.structs.replace(self, status=advance(self.status, Event.EXIT))


class Link(msgspec.Struct, frozen=True, array_like=True):
    """``--link``: another container known as ``alias``; ``name`` is what it was called then, shown once it is gone."""

    alias: str
    container_id: str
    name: str


#: (container id, host id, how many): one line of a uid_map, user_namespaces(7).
IdRange = tuple[int, int, int]


class IdMap(msgspec.Struct, frozen=True):
    """The maps of a container's user namespace."""

    uids: tuple[IdRange, ...]
    gids: tuple[IdRange, ...]


class ContainerRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a container is. ``path`` and ``args`` are entrypoint and command merged; ``chain_id`` names its image's
    unpacked root.

    ``id_map`` is that of the user namespace it runs in, or ran in last.

    Durability: committed with FULL synchronisation at create, so that a power cut loses no created container, unless
    ``AutoRemove`` is set: such a container cannot outlive a power cut in any case, so it is not worth an fsync.
    """

    id: str
    name: str
    created_ns: int
    path: str
    args: tuple[str, ...]
    config: ContainerConfig
    host: HostConfig
    networking: NetworkingConfig = msgspec.field(default_factory=NetworkingConfig)
    image_id: str
    chain_id: str = ""
    platform: str = "linux"
    mounts: tuple[MountPoint, ...] = ()
    network: EndpointRecord | None = None
    id_map: IdMap | None = None
    links: tuple[Link, ...] = ()
    state: State = State()
    restart_count: int = 0

    @property
    def command(self) -> tuple[str, ...]:
        """The argument vector of the first process."""
        return (self.path, *self.args)

    @property
    def chain(self) -> Digest | None:
        """The image's unpacked root; None for a container on nothing."""
        return Digest(self.chain_id) if self.chain_id else None

    @property
    def tree_limit(self) -> int:
        """Bytes it may write into its own layer, 0 for any."""
        return tree_limit(self.host.StorageOpt)

    def images(self) -> list[tuple[str, str]]:
        """(who uses it, image id): the container its own, each of its mounts one."""
        mounted = [(f"{self.id}:{point.destination}", point.image) for point in self.mounts if point.image]
        return [(self.id, self.image_id), *mounted]

    def with_state(self, state: State) -> "ContainerRecord":
        """A copy in another state."""
        return msgspec.structs.replace(self, state=state)

    def retrying(self, delay_ms: int) -> "ContainerRecord":
        """A copy that waits for its next start, which is counted already."""
        state = msgspec.structs.replace(self.state, status=advance(self.state.status, Event.RETRY), backoff_ms=delay_ms)
        return msgspec.structs.replace(self, state=state, restart_count=self.restart_count + 1)

    def fresh(self) -> "ContainerRecord":
        """A copy whose policy begins to count anew: a client starts it."""
        state = msgspec.structs.replace(self.state, backoff_ms=0, stop_requested=False, policy_over=False)
        return msgspec.structs.replace(self, state=state, restart_count=0)


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(ContainerRecord)


def encode(record: ContainerRecord) -> bytes:
    """The row's value."""
    return _encoder.encode(record)


def decode(value: bytes) -> ContainerRecord:
    """The record of a row; raises msgspec.MsgspecError."""
    try:
        return _decoder.decode(value)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error
