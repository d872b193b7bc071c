"""What ``--link`` gives a container: variables about the linked one, and its line in /etc/hosts; pure.

The names are those of Docker's legacy links: ``ALIAS_PORT``, ``ALIAS_NAME``, ``ALIAS_PORT_80_TCP`` and its parts,
``ALIAS_ENV_NAME``.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from corten.errors import InvalidArgument

#: Of every container, so not worth telling about a linked one.
_UNTOLD: Final = ("HOME", "PATH")

Port = tuple[int, str]


def parse_link(text: str) -> tuple[str, str]:
    """``container[:alias]`` as (container, alias), which may be empty; also ``/container:/parent/alias``, as inspect
    shows it.

    Raises:
        InvalidArgument: Docker's text.
    """
    if not text:
        raise InvalidArgument("empty string specified for links")
    name, colon, alias = text.partition(":")
    if ":" in alias:
        raise InvalidArgument(f"bad format for links: {text}")
    if not colon:
        return name, name.rpartition("/")[2]
    return name, alias.rpartition("/")[2]


def hosts_names(alias: str, hostname: str, name: str) -> str:
    """The names behind a linked container's address."""
    return " ".join([alias, hostname, *([name] if name != alias else [])])


def rewrite_hosts(text: str, alias: str, line: str) -> str:
    """/etc/hosts with the line that begins with ``alias`` replaced, or taken away when ``line`` is empty; the rest
    is the container's and stays as it is.
    """
    kept = []
    for old in text.splitlines(keepends=True):
        words = old.split()
        if len(words) > 1 and words[1] == alias and not old.startswith("#"):
            old, line = line, ""
        kept.append(old)
    return "".join(kept)


def variables(path: str, alias: str, address: str, ports: Iterable[Port], environment: Iterable[str]) -> list[str]:
    """The variables; ``path`` is ``/parent/alias``, ``ports`` the linked container's exposed ones."""
    prefix = alias.upper().replace("-", "_")
    ordered = sorted(set(ports), key=lambda port: (port[0], port[1] != "tcp"))
    found = []
    if ordered:
        number, protocol = ordered[0]
        found.append(f"{prefix}_PORT={protocol}://{address}:{number}")
    for group in _runs(ordered):
        found += _of_run(prefix, address, group)
    found.append(f"{prefix}_NAME={path}")
    for entry in environment:
        name, equals, value = entry.partition("=")
        if equals and name not in _UNTOLD:
            found.append(f"{prefix}_ENV_{name}={value}")
    return found


def _of_run(prefix: str, address: str, group: Sequence[Port]) -> Iterator[str]:
    first, protocol = group[0]
    start = f"{prefix}_PORT_{first}_{protocol.upper()}"
    if len(group) > 1:
        last = group[-1][0]
        yield f"{start}_START={protocol}://{address}:{first}"
        yield f"{start}_PORT_START={first}"
        yield f"{start}_END={protocol}://{address}:{last}"
        yield f"{start}_PORT_END={last}"
    for number, _ in group:
        name = f"{prefix}_PORT_{number}_{protocol.upper()}"
        yield f"{name}={protocol}://{address}:{number}"
        yield f"{name}_ADDR={address}"
        yield f"{name}_PORT={number}"
        yield f"{name}_PROTO={protocol}"


def _runs(ports: Sequence[Port]) -> Iterator[list[Port]]:
    """Ports that follow each other, of one protocol, together."""
    run: list[Port] = list(ports[:1])
    for before, port in pairwise(ports):
        if port[1] == before[1] and port[0] == before[0] + 1:
            run.append(port)
        else:
            yield run
            run = [port]
    if run:
        yield run
