"""Facts about one container: ``port`` and ``top``."""

from __future__ import annotations

import sys

from corten.cli import table
from corten.client.errors import ClientError
from corten.client.transport import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from corten.cli.options import Options
    from corten.cli.session import Session

PORT_FLAGS: Final = ()
TOP_FLAGS: Final = ()


def port(session: Session, given: Options, arguments: list[str]) -> int:
    """Where the ports of a container are published: all of them, or one."""
    document = session.client.get(f"/containers/{quote(arguments[0])}/json")
    published = (document.get("NetworkSettings") or {}).get("Ports") or {}
    if len(arguments) == 2:
        wanted = arguments[1]
        number, slash, protocol = wanted.partition("/")
        found = published.get(f"{number}/{protocol.lower() if slash else 'tcp'}")
        if not found:
            raise ClientError(f"Error: No public port '{wanted}' published for {arguments[0]}")
        for binding in found:
            session.print(_address(binding))
        return 0
    lines = [(inner, f"{inner} -> {_address(binding)}") for inner, bindings in published.items()
             for binding in bindings or ()]  # fmt: skip
    for _, line in sorted(lines, key=lambda pair: (_number(pair[0]), pair[1])):
        session.print(line)
    return 0


def _number(inner: str) -> int:
    digits = inner.partition("/")[0]
    return int(digits) if digits.isdigit() else 0


def _address(binding: dict[str, str]) -> str:
    host, outer = binding.get("HostIp", ""), binding.get("HostPort", "")
    return f"[{host}]:{outer}" if ":" in host else f"{host}:{outer}"


def top(session: Session, given: Options, arguments: list[str]) -> int:
    """The processes of a container, as ps with the given words shows them."""
    answer = session.client.get(f"/containers/{quote(arguments[0])}/top", {"ps_args": " ".join(arguments[1:])})
    rows = [answer["Titles"], *(answer.get("Processes") or [])]
    text = "".join("\t".join(row) + "\n" for row in rows)
    sys.stdout.write(table.lay_out(text, minimum=20))
    return 0
