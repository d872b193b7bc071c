"""Environment variables and labels of options and of files; reads those files and this process's environment."""

from __future__ import annotations

import os

from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def merged(files: Sequence[str], given: Sequence[str]) -> list[str]:
    """``NAME=VALUE`` of all files, then of the options; a bare name takes this process's value.

    A bare name without a value is left out of a file, and stays bare as an option: it takes the image's variable away.

    Raises:
        ClientError: a file cannot be read or a line of it is no variable.
    """
    found = []
    for path in files:
        found += [_from_process(line) for line in lines(path) if "=" in line or line in os.environ]
    return [*found, *map(_from_process, given)]


def _from_process(entry: str) -> str:
    if "=" in entry or entry not in os.environ:
        return entry
    return f"{entry}={os.environ[entry]}"


def labels(files: Sequence[str], given: Sequence[str]) -> dict[str, str]:
    """Labels of all files, then of the options; a bare name is an empty label, but left out of a file, as Docker does.

    Raises:
        ClientError: a file cannot be read or a line of it is no label.
    """
    found: dict[str, str] = {}
    for path in files:
        for line in lines(path):
            name, equals, value = line.partition("=")
            if equals:
                found[name] = value
    for entry in given:
        name, _, value = entry.partition("=")
        found[name] = value
    return found


def lines(path: str) -> list[str]:
    """The entries of a file: one a line, blank lines and those that begin with ``#`` left out.

    Raises:
        ClientError: Docker's text.
    """
    try:
        with open(path, "rb") as file:
            data = file.read().removeprefix(BYTE_ORDER_MARK)
    except OSError as error:
        raise ClientError(f"open {path}: {(error.strerror or 'cannot be read').lower()}") from error
    found = []
    for number, raw in enumerate(data.split(b"\n"), 1):
        try:
            line = raw.decode("utf-8").rstrip("\r").lstrip()
        except UnicodeDecodeError:
            raise ClientError(f"env file {path} contains invalid utf8 bytes at line {number}: {raw!r}") from None
        if not line or line.startswith("#"):
            continue
        name = line.partition("=")[0]
        if not name:
            raise ClientError(f"invalid env file ({path}): no variable name on line '{line}'")
        if any(character.isspace() for character in (name if "=" in line else name.rstrip())):
            raise ClientError(f"invalid env file ({path}): variable '{name}' contains whitespaces")
        found.append(line if "=" in line else name.rstrip())
    return found
