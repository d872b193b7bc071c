"""Containers' writable trees: the interface of what makes them, and their place on disk::

    snapshots/<container id>/tree.json     the chain id it stands on; written last, so a half-made tree has none
    snapshots/<container id>/...           the driver's own directories
    snapshots/.dead-*                      being deleted

Knows nothing of overlayfs or of copying. Trees are not synced when they are made: the record of a container is durable,
and :meth:`Trees.prepare` makes an unwritten tree again when a power cut lost it.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NotRequired, Protocol, TypedDict

import msgspec

from corten.errors import CorruptData, InvalidArgument, NotFound
from corten.linux.removal import remove_tree
from corten.oci.digest import Digest
from corten.storage.durable import write_file
from corten.storage.limits import Limits

_ID: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,127}\Z")
_DEAD: Final = ".dead-"


class Mount(TypedDict):
    """One mount of a container, as the runtime executes it. ``target`` is inside its root, "/" is the root itself.

    Relative ``lowerdir`` and ``upperdir`` are relative to ``chdir``, so that long stacks fit in mount(2)'s page.
    """

    type: str
    source: str
    target: str
    options: list[str]
    chdir: NotRequired[str]


class Trees(Protocol):
    """Makes writable trees on layers. Thread-safe for different containers."""

    name: str

    @property
    def limits(self) -> Limits | None:
        """What keeps containers below a size; None where nothing does."""
        ...

    def prepare(self, container_id: str, chain: Digest | None, limit: int = 0) -> list[Mount]:
        """Make a tree on ``chain`` (None: on nothing), or find it again; its mounts. A container may write ``limit``
        bytes, 0 for any.
        """
        ...

    def view(self, chain: Digest) -> list[Mount]:
        """Read-only mounts of an image."""
        ...

    def usage(self, container_id: str) -> int:
        """Bytes of file data the container added or changed."""
        ...

    def written(self, container_id: str) -> Path | None:
        """The directory that holds only what the container changed, where the driver keeps one."""
        ...

    def stack(self, container_id: str, chain: Digest | None) -> list[Path]:
        """Directories, uppermost first, that merged are what the container sees."""
        ...


class TreeRecord(msgspec.Struct, frozen=True):
    """``tree.json``; ``copied`` is the bytes the driver put in the tree itself."""

    chain: str
    copied: int = 0


class TreeDirectories:
    """The ``snapshots`` folder of a data root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, TreeRecord] = {}
        root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, container_id: str) -> Path:
        """The container's directory; its id becomes a path here, so it is checked here."""
        if not _ID.match(container_id):
            raise InvalidArgument(f"invalid container id {container_id!r}")
        return self.root / container_id

    def record(self, container_id: str) -> TreeRecord | None:
        """What is known of a container's tree; None when there is none, or a half-made one."""
        known = self._known.get(container_id)
        if known is not None:
            return known
        try:
            raw = (self.path(container_id) / "tree.json").read_bytes()
        except FileNotFoundError:
            return None
        try:
            return self._known.setdefault(container_id, msgspec.json.decode(raw, type=TreeRecord))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if not raw.strip(b"\0"):
                return None  # lost in a power cut before anything was written in the tree
            raise CorruptData(f"container {container_id}: tree.json: {error}") from error

    def chain(self, container_id: str) -> Digest | None:
        """The chain id a container stands on; NotFound when it has no tree."""
        record = self.record(container_id)
        if record is None:
            raise NotFound(f"container {container_id} has no file system")
        return Digest(record.chain) if record.chain else None

    def commit(self, container_id: str, record: TreeRecord) -> None:
        """Say that a tree is complete."""
        write_file(self.path(container_id) / "tree.json", msgspec.json.encode(record), durable=False)
        self._known[container_id] = record

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(name for name in os.listdir(self.root) if _ID.match(name)))

    def remove(self, container_id: str) -> None:
        """Rename the tree away, then delete it: a crash in between leaves nothing with a container's name."""
        dead = self.root / f"{_DEAD}{secrets.token_hex(8)}"
        place = self.path(container_id)
        self._known.pop(container_id, None)
        try:
            os.rename(place, dead)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            (place / "tree.json").unlink(missing_ok=True)  # the folder is a project's: nothing of another moves in it
            dead = place
        remove_tree(dead)

    def leftovers(self) -> list[Path]:
        """Half deletions of an earlier run."""
        return [self.root / name for name in os.listdir(self.root) if name.startswith(_DEAD)]
