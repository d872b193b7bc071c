"""``version``: what the client and the engine are."""

from __future__ import annotations

import os
import sys

from corten.cli.options import Flag
from corten.client.errors import ClientError, Unreachable
from corten.client.transport import NEWEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.cli.options import Options
    from corten.cli.session import Session

    Document = dict[str, Any]

VERSION_FLAGS: Final = (Flag("format", "f", "string", "Format output: 'json' or a Go template"),)

_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def version(session: Session, given: Options, arguments: list[str]) -> int:
    """Print both versions; the client's alone, and a failure, when no engine answers."""
    chosen = given.text("format")
    client = client_version(session)
    document: Document = {"Client": client, "Server": None}
    failure: ClientError | None = None
    try:
        document["Server"] = session.client.get("/version")
        client["ApiVersion"] = session.client.version
    except Unreachable as error:
        failure = error
    if chosen:
        sys.stdout.write(render(document, chosen) + "\n")
    else:
        sys.stdout.write(_client_text(client))
        if document["Server"]:
            sys.stdout.write("\n" + _server_text(document["Server"]))
    if failure is not None:
        session.complain(str(failure))
        return 1
    return 0


def client_version(session: Session) -> Document:
    """The client's part, in Docker's shape."""
    from corten import __version__

    machine = os.uname().machine
    return {
        "Version": __version__,
        "ApiVersion": NEWEST,
        "DefaultAPIVersion": NEWEST,
        "GitCommit": "",
        "GoVersion": f"python{sys.version.split()[0]}",
        "Os": sys.platform,
        "Arch": _MACHINES.get(machine, machine),
        "BuildTime": "",
        "Context": session.context_name(),
    }


def render(document: Document, chosen: str) -> str:
    """A document by a template, or as JSON."""
    from corten.template.engine import Template, TemplateError
    from corten.template.functions import encode
    from corten.template.tokens import ParseFailure
    from corten.template.values import Struct

    if chosen == "json":
        return encode(document)
    try:
        return Template(chosen).render(Struct(document))
    except (ParseFailure, TemplateError) as error:
        raise ClientError(f"template parsing error: {error}") from None


def _line(name: str, value: str, indent: int) -> str:
    return f"{' ' * indent}{name + ':':<{20 - indent}}{value}".rstrip() + "\n"


def _language(name: str) -> tuple[str, str]:
    if name.startswith("python"):
        return "Python version", name.removeprefix("python")
    return "Go version", name


def _client_text(client: Document) -> str:
    api = client["ApiVersion"]
    if api != client["DefaultAPIVersion"]:
        api += f" (downgraded from {client['DefaultAPIVersion']})"
    lines = [
        ("Version", client["Version"]),
        ("API version", api),
        _language(client["GoVersion"]),
        ("OS/Arch", f"{client['Os']}/{client['Arch']}"),
        ("Context", client["Context"]),
    ]
    return "Client:\n" + "".join(_line(name, value, 1) for name, value in lines)


def _server_text(server: Document) -> str:
    name = (server.get("Platform") or {}).get("Name")
    text = f"Server: {name}\n" if name else "Server:\n"
    for component in server.get("Components") or ():
        text += f" {component['Name']}:\n" + _line("Version", component["Version"], 2)
        details = component.get("Details") or {}
        if component["Name"] == "Engine":
            text += _engine_text(details)
        else:
            text += "".join(_line(key, details[key], 2) for key in sorted(details))
    return text


def _engine_text(details: dict[str, str]) -> str:
    lines = [
        ("API version", f"{details.get('ApiVersion', '')} (minimum version {details.get('MinAPIVersion', '')})"),
        _language(details.get("GoVersion", "")),
        ("Git commit", details.get("GitCommit", "")),
        ("Built", details.get("BuildTime", "")),
        ("OS/Arch", f"{details.get('Os', '')}/{details.get('Arch', '')}"),
        ("Experimental", details.get("Experimental", "")),
    ]
    return "".join(_line(name, value, 2) for name, value in lines)
