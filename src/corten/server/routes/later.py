"""Operations of Docker's API that this engine answers without doing them: data.

Not built yet: 501 naming the operation. Swarm: 503 with Docker's text for a node that is in no swarm. Managed plugins:
there are none, which is an honest list.
"""

from typing import Final

from corten.errors import NotSupported, Unavailable
from corten.server.call import Call
from corten.server.reply import Reply, json
from corten.server.router import Handler, Route

_NO_SWARM: Final = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" '
    "to connect this node to swarm and try again."
)
_NOT_IN_SWARM: Final = "This node is not part of a swarm"

_NOT_YET: Final = (
    "GET /containers/{name}/checkpoints",
    "POST /containers/{name}/checkpoints",
    "DELETE /containers/{name}/checkpoints/{checkpoint}",
    "POST /build",
    "POST /build/cancel",
    "POST /grpc",
    "POST /session",
    "GET /images/{name}/attestations",
    "GET /distribution/{name}/json",
    "PUT /volumes/{name}",
    "POST /networks/create",
    "POST /networks/{name}/connect",
    "POST /networks/{name}/disconnect",
    "GET /plugins/privileges",
    "POST /plugins/pull",
    "POST /plugins/create",
    "GET /plugins/{name}/json",
    "DELETE /plugins/{name}",
    "POST /plugins/{name}/enable",
    "POST /plugins/{name}/disable",
    "POST /plugins/{name}/upgrade",
    "POST /plugins/{name}/push",
    "POST /plugins/{name}/set",
    "POST /swarm/init",
    "POST /swarm/join",
)

_SWARM: Final = (
    "GET /swarm",
    "POST /swarm/update",
    "GET /swarm/unlockkey",
    "POST /swarm/unlock",
    "GET /nodes",
    "GET /nodes/{name}",
    "DELETE /nodes/{name}",
    "POST /nodes/{name}/update",
    "GET /services",
    "POST /services/create",
    "GET /services/{name}",
    "DELETE /services/{name}",
    "POST /services/{name}/update",
    "GET /services/{name}/logs",
    "GET /tasks",
    "GET /tasks/{name}",
    "GET /tasks/{name}/logs",
    "GET /secrets",
    "POST /secrets/create",
    "GET /secrets/{name}",
    "DELETE /secrets/{name}",
    "POST /secrets/{name}/update",
    "GET /configs",
    "POST /configs/create",
    "GET /configs/{name}",
    "DELETE /configs/{name}",
    "POST /configs/{name}/update",
)


def _refusal(error: type[NotSupported | Unavailable], text: str) -> Handler:
    async def handler(_: Call) -> Reply:
        raise error(text)

    return handler


async def plugins(call: Call) -> Reply:
    call.filters()
    return json([])


def _routes(operations: tuple[str, ...], error: type[NotSupported | Unavailable], text: str) -> list[Route]:
    routes = []
    for operation in operations:
        method, pattern = operation.split(" ")
        routes.append(Route(method, pattern, _refusal(error, text.format(operation=operation))))
    return routes


ROUTES: Final = (
    Route("GET", "/plugins", plugins),
    Route("POST", "/swarm/leave", _refusal(Unavailable, _NOT_IN_SWARM)),
    *_routes(_NOT_YET, NotSupported, "{operation} is not supported yet"),
    *_routes(_SWARM, Unavailable, _NO_SWARM),
)
