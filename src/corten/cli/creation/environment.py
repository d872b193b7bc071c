"""``--env-file``, ``--env`` and ``--label-file``: lines and words into ``KEY=value`` lists."""

from __future__ import annotations

import os

from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_BOM = b"\xef\xbb\xbf"


def merged(files: Sequence[str], words: Sequence[str]) -> list[str]:
    """Files in order, then the words; a word without ``=`` takes our own environment's value, or is left out."""
    found = [line for path in files for line in lines(path, expand=True)]
    for word in words:
        name, equals, _ = word.partition("=")
        if not name:
            raise ClientError(f"invalid environment variable: {word}")
        if equals:
            found.append(word)
        elif name in os.environ:
            found.append(f"{name}={os.environ[name]}")
        else:
            found.append(name)
    return found


def lines(path: str, *, expand: bool) -> list[str]:
    """The ``KEY=value`` lines of a file: comments and empty lines left out, names checked; ClientError.

    ``expand`` gives a name without ``=`` our own environment's value, and leaves it out when there is none.
    """
    try:
        with open(path, "rb") as file:
            content = file.read().removeprefix(_BOM)
    except OSError as error:
        raise ClientError(f"open {path}: {(error.strerror or '').lower()}") from error
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ClientError(f"invalid utf8 bytes in {path}") from error
    found = []
    for line in text.splitlines():
        entry = line.lstrip()
        if not entry or entry.startswith("#"):
            continue
        name, equals, _ = entry.partition("=")
        if not name:
            raise ClientError(f"no variable name on line '{entry}'")
        if any(character in " \t" for character in name):
            raise ClientError(f"variable '{name}' contains whitespaces")
        if equals or not expand:
            found.append(entry)
        elif name in os.environ:
            found.append(f"{name}={os.environ[name]}")
    return found
