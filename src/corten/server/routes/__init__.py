"""Every operation of the API, one module per noun; :data:`ROUTES` is the whole table."""

from typing import Final

from corten.server.router import Route
from corten.server.routes import containers, execs, files, images, later, networks, system, volumes

ROUTES: Final[tuple[Route, ...]] = (
    *system.ROUTES,
    *containers.ROUTES,
    *execs.ROUTES,
    *files.ROUTES,
    *images.ROUTES,
    *volumes.ROUTES,
    *networks.ROUTES,
    *later.ROUTES,
)
