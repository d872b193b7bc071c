"""``--use-api-socket``: the engine's socket in the container, and the registry credentials its programs need there.

As the docker CLI does it: the socket is a bind, the credentials a file that is copied in, because a tmpfs would not be
there before the start. A container with a ``DOCKER_CONFIG`` of its own gets no file.
"""

from __future__ import annotations

from corten.cli import credentials
from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from corten.cli.session import Session

_SOCKET: Final = "/var/run/docker.sock"
_FOLDER: Final = "/run/secrets/docker"


def share(session: Session, document: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Add socket and variable to the body of a create; gives the credentials that are to be copied in, if any.

    Raises:
        ClientError: the engine is not on a unix socket, so there is nothing to mount.
    """
    endpoint, _ = session.endpoint()
    if not endpoint.path:
        raise ClientError(
            f"flag --use-api-socket can only be used with unix sockets: docker endpoint {endpoint.text} incompatible"
        )
    bind = {"Type": "bind", "Source": endpoint.path, "Target": _SOCKET, "BindOptions": {}}
    document["HostConfig"]["Mounts"] = [*(document["HostConfig"].get("Mounts") or ()), bind]
    if any(entry.startswith("DOCKER_CONFIG=") for entry in document.get("Env") or ()):
        return {}
    found = credentials.every(session.config)
    if found:
        document["Env"] = [*(document.get("Env") or ()), f"DOCKER_CONFIG={_FOLDER}"]
    return found


def copy_credentials(session: Session, container: str, found: dict[str, dict[str, str]]) -> None:
    """Put them into a container that was made, readable for its root alone."""
    from corten.client import jsontext
    from corten.client.transport import quote
    from corten.tar import header, writer

    content = jsontext.indent(jsontext.go_encode({"auths": found}), "\t").encode()
    entry = header.Entry(f"{_FOLDER}/config.json".encode(), header.REGULAR, mode=0o600, size=len(content))
    archive = writer.encode(entry) + content + writer.padding(len(content)) + writer.END
    path, kind = f"/containers/{quote(container)}/archive", {"Content-Type": "application/x-tar"}
    try:
        session.client.raw("PUT", path, {"path": "/"}, archive, kind)
    except ClientError as error:
        raise ClientError(f"injecting docker config.json into container failed: {error}") from error
