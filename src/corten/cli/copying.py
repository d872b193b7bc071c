"""Where ``cp`` copies from and to: Docker's rules for names, trailing slashes and what exists; pure but for a look at
the local side.

An archive has one top entry. Whether it keeps its name or takes the destination's depends on what the destination is;
both directions follow :func:`placed`.
"""

from __future__ import annotations

import os
import stat

from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_MAX_LINKS: Final = 10
#: Bits of Go's os.FileMode, which the engine's stat header carries.
GO_DIRECTORY: Final = 1 << 31
GO_LINK: Final = 1 << 27
GO_DEVICE: Final = 1 << 26


class Source:
    """What is copied: its path as the archive is asked for or packed, and the name it has when it keeps its own."""

    __slots__ = ("is_directory", "name", "path")

    def __init__(self, path: str, *, is_directory: bool, name: str = "") -> None:
        self.path = path
        self.is_directory = is_directory
        self.name = name or last_word(path)


class Destination:
    """Where it goes: a path on the other side, and what is there."""

    __slots__ = ("exists", "is_directory", "path")

    def __init__(self, path: str, *, exists: bool = False, is_directory: bool = False) -> None:
        self.path = path
        self.exists = exists
        self.is_directory = is_directory


def split_argument(text: str) -> tuple[str, str]:
    """``CONTAINER:PATH`` as (container, path); a local path has no container."""
    container, colon, path = text.partition(":")
    if text.startswith("/") or not colon or container.startswith("."):
        return "", text
    return container, path


def says_current(path: str) -> bool:
    """Whether a path ends in ``.`` (or is empty): the content of a directory, not the directory."""
    return path in ("", ".") or path.endswith("/.")


def kept_ending(cleaned: str, original: str) -> str:
    """``cleaned`` with the trailing ``/`` or ``/.`` that ``original`` has."""
    if says_current(original):
        return cleaned if says_current(cleaned) else f"{cleaned.rstrip('/')}/."
    return f"{cleaned.rstrip('/')}/" if original.endswith("/") else cleaned


def last_word(path: str) -> str:
    """The name of a path's top entry: ``.`` for ``a/.``, ``/`` for the root."""
    return "." if says_current(path) else os.path.basename(os.path.normpath(path)) or "/"


def parent(path: str) -> str:
    """The directory that holds a path's top entry."""
    cleaned = os.path.normpath(path)
    return cleaned if says_current(path) else os.path.dirname(cleaned) or "."


def placed(source: Source, destination: Destination) -> tuple[str, str]:
    """(the directory to unpack into, the top entry's name there; empty when its content goes into the directory).

    Raises:
        ClientError: with Docker's texts.
    """
    if destination.exists and destination.is_directory:
        return destination.path, "" if source.name in (".", "/") else source.name
    if destination.exists and source.is_directory:
        raise ClientError("cannot copy directory")
    if not source.is_directory and (destination.path.endswith("/") or says_current(destination.path)):
        raise ClientError("no such directory")
    return parent(destination.path), last_word(destination.path)


def local_path(path: str) -> str:
    """An absolute local path, its ending kept."""
    return kept_ending(os.path.abspath(path), path)


def local_source(path: str, *, follow: bool) -> Source:
    """What a local path names; a link itself, unless ``follow`` or a trailing slash says otherwise.

    Raises:
        ClientError: there is nothing.
    """
    try:
        if follow:
            resolved = kept_ending(os.path.realpath(path, strict=True), path)  # noqa: TID251  this host's
        else:
            folder, base = os.path.split(path)
            real = os.path.realpath(folder, strict=True)  # noqa: TID251  this host's
            resolved = f"{real.rstrip('/')}/{base}"
        status = os.lstat(resolved)
    except OSError as error:
        raise ClientError(f"lstat {path}: {(error.strerror or 'cannot be read').lower()}") from error
    renamed = "" if says_current(path) else os.path.basename(path.rstrip("/"))
    return Source(resolved, is_directory=stat.S_ISDIR(status.st_mode), name=renamed)


def local_destination(path: str) -> Destination:
    """What is at a local path, links followed; its parent must exist.

    Raises:
        ClientError: it cannot be copied to.
    """
    place = path
    try:
        for _ in range(_MAX_LINKS + 1):
            status = os.lstat(place)
            if not stat.S_ISLNK(status.st_mode):
                return Destination(place, exists=True, is_directory=stat.S_ISDIR(status.st_mode))
            place = os.path.join(parent(place), os.readlink(place.rstrip("/")))
    except FileNotFoundError:
        if not os.path.isdir(parent(place)):
            raise ClientError("not a directory") from None
        return Destination(place)
    except OSError as error:
        raise ClientError(f"lstat {place}: {(error.strerror or 'cannot be read').lower()}") from error
    raise ClientError(f"too many symlinks in {path}")


def check_output(path: str) -> None:
    """Docker's first look at a local destination.

    Raises:
        ClientError: its directory does not exist, or it is a device.
    """
    folder = os.path.dirname(os.path.normpath(path))
    if folder and not os.path.exists(folder):
        raise ClientError(f'invalid output path: directory "{folder}" does not exist')
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ClientError(f"stat {path}: {(error.strerror or '').lower()}") from error
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise ClientError(f'invalid output path: "{path}" must be a directory or a regular file: got a device')
