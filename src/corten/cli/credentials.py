"""Credentials of registries as Docker keeps them: in ``config.json``, or in a helper program it names.

Owns the lookup, the storing and the form the API wants. A helper is ``docker-credential-NAME`` on PATH; it is spoken to
over standard input (docker-credential-helpers protocol: get, store, erase).
"""

from __future__ import annotations

from corten.client.errors import ClientError
from corten.client.jsontext import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.cli.config import Config

INDEX: Final = "https://index.docker.io/v1/"
_TOKEN_USER: Final = "<token>"
_NOT_FOUND: Final = "credentials not found"


def server_of(reference: str) -> str:
    """The key of the registry an image name belongs to: its host, or Docker Hub's historic address."""
    first, slash, _ = reference.partition("/")
    if not slash or ("." not in first and ":" not in first and first != "localhost"):
        return INDEX
    return INDEX if first in ("docker.io", "index.docker.io") else first


def header(config: Config, server: str) -> dict[str, str]:
    """``X-Registry-Auth`` for a call that concerns ``server``."""
    import binascii

    text = encode(lookup(config, server)).encode()
    return {"X-Registry-Auth": binascii.b2a_base64(text, newline=False).decode().replace("+", "-").replace("/", "_")}


def lookup(config: Config, server: str) -> dict[str, str]:
    """The credentials for ``server``, in the API's AuthConfig form; empty when there are none."""
    helper = _helper(config, server)
    if helper:
        return _from_helper(helper, server)
    for key, entry in config.mapping("auths").items():
        if _hostname(key) != _hostname(server) or not isinstance(entry, dict):
            continue
        return _decoded(entry) | {"serveraddress": key}
    return {}


def every(config: Config) -> dict[str, dict[str, str]]:
    """All there are, by server, in the form of config.json's ``auths``."""
    servers = list(config.mapping("auths"))
    if config.text("credsStore"):
        servers += [key for key in decode(_call(config.text("credsStore"), "list", "")) if key not in servers]
    servers += [key for key in config.mapping("credHelpers") if key not in servers]
    found = {server: lookup(config, server) for server in sorted(servers)}
    return {server: _encoded(credentials) for server, credentials in found.items() if credentials}


def store(config: Config, server: str, credentials: dict[str, str]) -> str:
    """Keep what login was told; gives the name of the helper that has it, or an empty string for the file."""
    helper = _helper(config, server)
    auths: dict[str, Any] = dict(config.mapping("auths"))
    if helper:
        token = credentials.get("identitytoken", "")
        document = {
            "ServerURL": server,
            "Username": _TOKEN_USER if token else credentials.get("username", ""),
            "Secret": token or credentials.get("password", ""),
        }
        _call(helper, "store", encode(document))
        auths[server] = {}
    else:
        auths[server] = _encoded(credentials)
    config.document["auths"] = auths
    config.write()
    return helper


def erase(config: Config, server: str) -> bool:
    """Forget; whether there was anything."""
    auths: dict[str, Any] = dict(config.mapping("auths"))
    helper = _helper(config, server)
    known = [key for key in auths if _hostname(key) == _hostname(server)]
    if helper:
        _call(helper, "erase", server)
    for key in known:
        del auths[key]
    if known:
        config.document["auths"] = auths
        config.write()
    return bool(known)


def _helper(config: Config, server: str) -> str:
    chosen = config.mapping("credHelpers").get(_hostname(server)) or config.mapping("credHelpers").get(server)
    return str(chosen or config.text("credsStore"))


def _from_helper(helper: str, server: str) -> dict[str, str]:
    try:
        found = decode(_call(helper, "get", server))
    except ClientError as error:
        if _NOT_FOUND in str(error):
            return {}
        raise
    if found.get("Username") == _TOKEN_USER:
        return {"identitytoken": str(found.get("Secret", "")), "serveraddress": server}
    return {"username": str(found["Username"]), "password": str(found["Secret"]), "serveraddress": server}


def _call(helper: str, verb: str, text: str) -> str:
    import subprocess

    program = f"docker-credential-{helper}"
    try:
        result = subprocess.run([program, verb], input=text, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ClientError(
            f'error getting credentials - err: exec: "{program}": executable file not found in $PATH, out: ``'
        ) from error
    if result.returncode:
        raise ClientError(
            f"error {verb} credentials - err: exit status {result.returncode}, out: `{result.stdout.strip()}`"
        )
    return result.stdout


def _decoded(entry: dict[str, Any]) -> dict[str, str]:
    import binascii

    found = {
        key: str(entry[key]) for key in ("username", "password", "identitytoken", "registrytoken") if entry.get(key)
    }
    if entry.get("auth"):
        try:
            user, _, password = binascii.a2b_base64(str(entry["auth"])).decode().partition(":")
        except ValueError as error:
            raise ClientError("invalid auth configuration file: an auth entry is not base64") from error
        found |= {"username": user, "password": password.rstrip("\0")}
    return found


def _encoded(credentials: dict[str, str]) -> dict[str, str]:
    import binascii

    pair = f"{credentials.get('username', '')}:{credentials.get('password', '')}"
    kept = {"auth": binascii.b2a_base64(pair.encode(), newline=False).decode()}
    if credentials.get("identitytoken"):
        kept["identitytoken"] = credentials["identitytoken"]
        kept["auth"] = binascii.b2a_base64(f"{credentials.get('username', '')}:".encode(), newline=False).decode()
    return kept


def _hostname(server: str) -> str:
    stripped = server.removeprefix("https://").removeprefix("http://")
    return stripped.partition("/")[0]
