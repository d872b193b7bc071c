"""Local volumes: named directories that outlive containers::

    volumes/<name>/_data        what is mounted
    volumes/<name>/copying      there while the image's content is copied in; the copy is done again if it is found
    volumes/.new-*, .dead-<name>-*   being made, being deleted

A volume may be made for somebody whose own record comes later (``maker``); :meth:`VolumeStore.settle` says that it
came, and a volume that still has a maker after a crash is for the caller to judge (:meth:`VolumeStore.unsettled`).

Owns the directories and the records of volumes. Knows nothing of containers: who uses a volume is the engine's to know.

Creation: (1) make the directory under another name  (2) rename it  (3) fsync ``volumes``  (4) the record, durable.
Removal: (1) rename it away  (2) fsync ``volumes``  (3) delete the record, durable  (4) delete the data.
:meth:`VolumeStore.recover` finishes either; data that has no record and was not being deleted is kept and given one.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from corten.errors import InvalidArgument, NoSuchVolume, NotSupported
from corten.linux.removal import remove_tree
from corten.storage import merged
from corten.storage.durable import FilesystemSync, sync_directory
from corten.storage.metadata import Database
from corten.storage.native import copy_tree
from corten.storage.trees import Mount
from corten.storage.usage import disk_bytes, file_bytes

COLLECTION: Final = "volumes"
DRIVER: Final = "local"
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")
_OPTIONS: Final = frozenset({"type", "device", "o"})


class Volume(msgspec.Struct, frozen=True):
    """A volume's record; ``created`` is RFC 3339, ``maker`` what it was made for and is not settled yet."""

    name: str
    created: str
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    driver: str = DRIVER
    maker: str = ""


class VolumeStore:
    """The volumes of one data root; every method may be called from any thread."""

    def __init__(self, root: Path, database: Database) -> None:
        self._root = root
        self._database = database
        self._lock = threading.Lock()
        self._copying = threading.Lock()
        self._volumes: dict[str, Volume] = {}
        self._sync = FilesystemSync(root)
        self.problems: list[str] = []
        """What was found wrong at start-up, in words for the log."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for key, raw in database.load(COLLECTION):
            try:
                self._volumes[key] = decode(raw)
                if self._volumes[key].name != key:
                    raise msgspec.DecodeError(f"it says that it is {self._volumes.pop(key).name}")
            except msgspec.DecodeError as error:
                database.quarantine(COLLECTION, key, str(error))
                self.problems.append(f"record of volume {key} is unreadable: {error}")

    def create(
        self, name: str, *, labels: Mapping[str, str] | None = None, options: Mapping[str, str] | None = None,
        driver: str = DRIVER, maker: str = "",
    ) -> Volume:  # fmt: skip
        """Make a volume, or return the one that has the name (as Docker does, whatever its options).

        Raises:
            InvalidArgument: the name or an option is not one, with Docker's texts.
            NotSupported: another driver, or a size.
        """
        _check_driver(driver)
        check_name(name)
        chosen = _check_options(name, dict(options or {}))
        with self._lock:
            if name in self._volumes:
                return self._volumes[name]
            self._make(name)
            now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            try:
                return self._record(Volume(name, now, dict(labels or {}), chosen, maker=maker))
            except OSError:
                with suppress(OSError):  # not empty: it was there before, and is nobody's to delete
                    (self._root / name / "_data").rmdir()
                    (self._root / name).rmdir()
                raise

    def settle(self, names: Iterable[str]) -> None:
        """Their makers' records are committed: from now on nobody may take them for leftovers.

        A plain commit is enough: commits are ordered, so none that removes the maker can outlive this one.
        """
        with self._lock:
            settled = [msgspec.structs.replace(self._volumes[name], maker="") for name in names]
            with self._database.transaction() as change:
                for volume in settled:
                    change.put(COLLECTION, volume.name, msgspec.json.encode(volume))
            self._volumes.update((volume.name, volume) for volume in settled)

    def unsettled(self) -> list[Volume]:
        """Those that have a maker."""
        return [volume for volume in self.list() if volume.maker]

    def get(self, name: str) -> Volume:
        """The volume; NoSuchVolume."""
        try:
            return self._volumes[name]
        except KeyError:
            raise NoSuchVolume(name) from None

    def list(self) -> list[Volume]:
        """All volumes, by name."""
        with self._lock:
            return sorted(self._volumes.values(), key=lambda volume: volume.name)

    def path(self, name: str) -> Path:
        """The volume's directory on the host (Docker's Mountpoint)."""
        return self._root / self.get(name).name / "_data"

    def mount(self, name: str, target: str, *, read_only: bool = False) -> Mount:
        """How the volume gets into a container: its directory bound, or what its options mount."""
        volume = self.get(name)
        mode = ["ro"] if read_only else []
        if not volume.options:
            return Mount(type="bind", source=str(self.path(name)), target=target, options=["rbind", *mode])
        kind, options = volume.options["type"], [item for item in volume.options.get("o", "").split(",") if item]
        if "bind" in options or "rbind" in options:
            kind = "bind"
        return Mount(type=kind, source=volume.options["device"], target=target, options=[*options, *mode])

    def copy_up(self, name: str, lowers: Sequence[Path], target: str) -> bool:
        """Copy what the image has at ``target`` into an empty volume, with owner and mode; whether anything was there.

        ``target`` is looked up inside the merged layers, its symlinks too: nothing outside the image can be reached
        (CVE-2022-23648). Volumes whose options mount something else are left alone.

        (1) mark  (2) copy  (3) sync  (4) unmark  (5) sync that: a copy that was cut short is done again, a whole one is
        durable, and no power cut brings the mark back over what was written since.
        """
        volume = self.get(name)
        data, marker = self.path(name), self._root / volume.name / "copying"
        with self._copying:
            if volume.options or (any(data.iterdir()) and not marker.exists()):
                return False
            found = merged.find_directory(lowers, target)
            if found is None:
                return False
            with found:
                marker.touch(mode=0o600)  # (1)
                for left in tuple(data.iterdir()):
                    _delete(left)
                copy_tree(found, data)  # (2)
            self._sync()  # (3)
            marker.unlink()  # (4)
            sync_directory(marker.parent)  # (5)
        return True

    def usage(self, name: str) -> int:
        """Bytes of file data in the volume."""
        return 0 if self.get(name).options else file_bytes(self.path(name))

    def disk_usage(self, name: str) -> int:
        """Bytes of blocks that its removal gives back."""
        return disk_bytes(self._root / self.get(name).name)

    def remove(self, name: str) -> Callable[[], None]:
        """Take the volume away at once (steps 1 to 3); call the result, from any thread, for step 4."""
        with self._lock:
            volume = self.get(name)
            dead = self._root / f".dead-{volume.name}-{secrets.token_hex(4)}"
            if (self._root / volume.name).exists():
                os.rename(self._root / volume.name, dead)  # (1)
                sync_directory(self._root)  # (2)
            with self._database.transaction(durable=True) as change:
                change.delete(COLLECTION, name)  # (3)
            del self._volumes[name]
        return lambda: remove_tree(dead)  # (4)

    def recover(self) -> Sequence[Callable[[], None]]:
        """Finish what a crash interrupted; call the results to delete what is left over."""
        leftovers = []
        with self._lock:
            names = set(os.listdir(self._root))
            for name in sorted(names):
                if name.startswith(".new-"):
                    leftovers.append(self._root / name)
                elif name.startswith(".dead-"):
                    leftovers.append(self._root / name)
                    self._forget(name[len(".dead-") : -9], names)
                elif name not in self._volumes and _NAME.match(name):
                    self._adopt(name)
            for name in sorted(self._volumes.keys() - names):
                self._make(name)
                self.problems.append(f"the data of volume {name} is gone: it is empty now")
        return [_removal(path) for path in leftovers]

    def _make(self, name: str) -> None:
        fresh = self._root / f".new-{secrets.token_hex(8)}"
        fresh.mkdir(mode=0o701)  # (1)
        try:
            (fresh / "_data").mkdir(mode=0o755)
        except OSError:  # a full disk, between one block and the next
            fresh.rmdir()
            raise
        (fresh / "_data").chmod(0o755)
        if (self._root / name).exists():  # nobody's record; never written over
            remove_tree(fresh)
            return
        os.rename(fresh, self._root / name)  # (2)
        sync_directory(self._root)  # (3)

    def _record(self, volume: Volume) -> Volume:
        with self._database.transaction(durable=True) as change:
            change.put(COLLECTION, volume.name, msgspec.json.encode(volume))  # (4)
        self._volumes[volume.name] = volume
        return volume

    def _adopt(self, name: str) -> None:
        """A directory without a record: an unfinished creation when it is empty, somebody's data when it is not."""
        data = self._root / name / "_data"
        if data.is_dir() and any(data.iterdir()):
            made = datetime.fromtimestamp(data.stat().st_mtime, UTC).isoformat(timespec="seconds")
            self._record(Volume(name, made.replace("+00:00", "Z")))
            self.problems.append(f"volume {name} had no record: it has one again, without labels")
        else:
            remove_tree(self._root / name)

    def _forget(self, name: str, names: Iterable[str]) -> None:
        """Finish a removal that was cut after its rename."""
        if name in self._volumes and name not in names:
            with self._database.transaction(durable=True) as change:
                change.delete(COLLECTION, name)
            del self._volumes[name]


def decode(raw: bytes) -> Volume:
    """A volume's record; raises msgspec.DecodeError."""
    try:
        return msgspec.json.decode(raw, type=Volume)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error


def check_name(name: str) -> str:
    """``name`` itself.

    Raises:
        InvalidArgument: with the texts of Docker's local driver.
    """
    if len(name) == 1:
        raise InvalidArgument("volume name is too short, names should be at least two alphanumeric characters")
    if not _NAME.match(name) or len(name) > 255:
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )
    return name


def _check_driver(driver: str) -> None:
    if driver not in ("", DRIVER):
        raise NotSupported(f'volume driver "{driver}" is not supported: use "{DRIVER}"')


def _check_options(name: str, options: dict[str, str]) -> dict[str, str]:
    """Docker's local driver: type, device and o, as mount(8) has them; type and device go together."""
    if "size" in options:
        raise NotSupported(f"create {name}: quota size requested but no quota support")
    for option in options:
        if option not in _OPTIONS:
            raise InvalidArgument(f'create {name}: invalid option: "{option}"')
    if options:
        for option in ("device", "type"):
            if not options.get(option):
                raise InvalidArgument(f'create {name}: missing required option: "{option}"')
    return options


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink()


def _removal(path: Path) -> Callable[[], None]:
    return lambda: remove_tree(path)
