"""Routes of images."""

from typing import Final

import msgspec

from corten.errors import InvalidArgument, NotSupported
from corten.registry.auth import Credentials, from_header
from corten.server.call import Call
from corten.server.reply import CREATED, Reply, json
from corten.server.router import Route

_TAR: Final = "application/x-tar"


class _Platform(msgspec.Struct):
    """The ``platform`` parameter where Docker takes an OCI platform as JSON."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    # The rest of OCI's platform means nothing on Linux.


def _platform(call: Call, since: int) -> str:
    """``platform`` as ``os/arch[/variant]``; it came with API 1.``since``, older clients' is ignored."""
    text = call.query.text("platform")
    return _decoded(text) if text and call.at_least(since) else ""


def _only_platform(call: Call) -> str:
    """``platforms``, of which an image here can have only one."""
    texts = call.query.texts("platforms") if call.at_least(50) else []
    if len(texts) > 1:
        raise InvalidArgument("multiple platforms are not supported")
    return _decoded(texts[0]) if texts else ""


def _decoded(text: str) -> str:
    if not text.startswith("{"):
        raise InvalidArgument(f"invalid platform {text!r}: give a JSON object with os and architecture")
    try:
        found = msgspec.json.decode(text, type=_Platform)
    except msgspec.MsgspecError as exc:
        raise InvalidArgument(f"invalid platform: {exc}") from exc
    if not found.os or not found.architecture:
        raise InvalidArgument("invalid platform: both os and architecture must be given")
    return "/".join(part for part in (found.os, found.architecture, found.variant) if part)


def _credentials(call: Call) -> Credentials | None:
    return from_header(call.header("x-registry-auth"))


async def rows(call: Call) -> Reply:
    found = await call.engine.images.list(
        every=call.query.flag("all"),
        filters=call.filters(),
        shared_size=call.query.flag("shared-size") and call.at_least(42),
    )
    return call.shaped("image row", found)


async def inspect(call: Call) -> Reply:
    found = await call.engine.images.inspect(call.name, platform=_platform(call, 49))
    return call.shaped("image", found)


async def history(call: Call) -> Reply:
    return json(await call.engine.images.history(call.name, platform=_platform(call, 48)))


async def tag(call: Call) -> Reply:
    await call.engine.images.tag(call.name, call.query.text("repo"), call.query.text("tag"))
    return CREATED


async def remove(call: Call) -> Reply:
    found = await call.engine.images.remove(
        call.name, force=call.query.flag("force"), prune=not call.query.flag("noprune"), platform=_only_platform(call)
    )
    return json(found)


async def prune(call: Call) -> Reply:
    return json(await call.engine.images.prune(call.filters()))


async def create(call: Call) -> None:
    """Pull (``fromImage``) or import (``fromSrc``)."""
    platform = call.query.text("platform") if call.at_least(32) else ""
    image = call.query.text("fromImage")
    if image:
        async with call.progress() as progress:
            await call.engine.images.pull(
                image, call.query.text("tag"), platform=platform, auth=_credentials(call), progress=progress.send
            )
        return
    source = call.query.text("fromSrc")
    if not source:
        raise InvalidArgument("one of fromImage and fromSrc must be given")
    if source != "-":
        raise NotSupported("importing from a URL is not supported yet: fetch it and send it as the body (fromSrc=-)")
    async with call.progress() as progress:
        await call.engine.images.import_(
            call.exchange.body.chunks(),
            repo=call.query.text("repo"),
            tag=call.query.text("tag"),
            message=call.query.text("message"),
            changes=call.query.texts("changes"),
            platform=platform,
            progress=progress.send,
        )


async def push(call: Call) -> None:
    auth = _credentials(call)
    async with call.progress() as progress:
        await call.engine.images.push(
            call.name, call.query.text("tag"), platform=_platform(call, 46), auth=auth, progress=progress.send
        )


async def search(call: Call) -> Reply:
    limit = call.query.number("limit")
    found = await call.engine.images.search(
        call.query.text("term"), limit=limit, filters=call.filters(), auth=_credentials(call)
    )
    return json(found)


async def load(call: Call) -> None:
    quiet = call.query.flag("quiet")
    async with call.progress() as progress:
        await call.engine.images.load(
            call.exchange.body.chunks(), quiet=quiet, platform=_platform(call, 48), progress=progress.send
        )


async def save(call: Call) -> None:
    """One image by its path, or several by ``names``."""
    names = [call.name] if "name" in call.parameters else call.query.texts("names")
    begun = False

    async def sink(chunk: bytes) -> None:
        nonlocal begun
        if not begun:
            begun = True
            call.begin(_TAR)
        await call.exchange.write(chunk)

    call.exchange.follow_client()
    await call.engine.images.save(names, sink, platform=_platform(call, 48))
    call.exchange.end()


ROUTES: Final = (
    Route("GET", "/images/json", rows, ("manifests", "identity")),
    Route("GET", "/images/get", save),
    Route("GET", "/images/search", search),
    Route("POST", "/images/create", create),
    Route("POST", "/images/load", load),
    Route("POST", "/images/prune", prune),
    Route("GET", "/images/{name}/json", inspect, ("manifests",)),
    Route("GET", "/images/{name}/history", history),
    Route("GET", "/images/{name}/get", save),
    Route("POST", "/images/{name}/tag", tag),
    Route("POST", "/images/{name}/push", push),
    Route("DELETE", "/images/{name}", remove),
)
