"""``login`` and ``logout``."""

from __future__ import annotations

import os
import sys

from corten.cli import credentials, streams
from corten.cli.options import Flag
from corten.cli.session import CommandFailed
from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from corten.cli.options import Options
    from corten.cli.session import Session

LOGIN_FLAGS: Final = (
    Flag("password", "p", "string", "Password or Personal Access Token (PAT)"),
    Flag("password-stdin", "", "bool", "Take the Password or Personal Access Token (PAT) from stdin"),
    Flag("username", "u", "string", "Username"),
)


def login(session: Session, given: Options, arguments: list[str]) -> int:
    """Ask the registry whether the credentials are good, and keep them."""
    server = _server(arguments)
    password = given.text("password")
    if password:
        session.complain("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
        if given.flag("password-stdin"):
            raise CommandFailed("conflicting options: cannot specify both --password and --password-stdin")
    if given.flag("password-stdin"):
        if not given.text("username"):
            raise CommandFailed("the --password-stdin option requires --username to be set")
        password = sys.stdin.read().rstrip("\r\n")
    user = given.text("username")
    if not user or not password:
        user, password = _asked(session, server, user, password)
    body = {"username": user, "password": password, "serveraddress": server}
    answer = session.client.call("POST", "/auth", {}, body) or {}
    if answer.get("IdentityToken"):
        body = {"username": user, "identitytoken": str(answer["IdentityToken"])}
    helper = credentials.store(session.config, server, body)
    if not helper:
        session.complain(
            f"\nWARNING! Your credentials are stored unencrypted in '{session.config.path}'.\n"
            "Configure a credential helper to remove this warning. See\n"
            "https://docs.docker.com/go/credential-store/\n"
        )
    session.print(str(answer.get("Status") or "Login Succeeded"))
    return 0


def logout(session: Session, given: Options, arguments: list[str]) -> int:
    """Forget the credentials of a registry."""
    server = _server(arguments)
    if not credentials.erase(session.config, server):
        session.print(f"Not logged in to {server}")
        return 0
    session.print(f"Removing login credentials for {server}")
    return 0


def _server(arguments: list[str]) -> str:
    return credentials.server_of(f"{arguments[0]}/x") if arguments else credentials.INDEX


def _asked(session: Session, server: str, user: str, password: str) -> tuple[str, str]:
    stored = credentials.lookup(session.config, server)
    if not user and not password and stored.get("username") and stored.get("password"):
        session.print("Authenticating with existing credentials...")
        return stored["username"], stored["password"]
    if not streams.is_terminal(streams.STDIN):
        raise CommandFailed("Error: Cannot perform an interactive login from a non TTY device")
    import getpass

    if not user:
        sys.stdout.write("Username: ")
        sys.stdout.flush()
        user = os.read(streams.STDIN, 4096).decode().strip()
    if not user:
        raise ClientError("username is required")
    password = password or getpass.getpass("Password: ")
    if not password:
        raise ClientError("password is required")
    return user, password
