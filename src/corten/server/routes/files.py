"""Routes of what is inside a container: archive, changes, export, commit."""

import base64
from collections.abc import AsyncIterator
from typing import Final

from corten.api.types.container import ContainerConfig, PathStat
from corten.errors import InvalidArgument
from corten.server.call import Call
from corten.server.identity import response_headers
from corten.server.reply import Reply, encode, json
from corten.server.router import Route

_TAR: Final = "application/x-tar"
#: Our own CLI's: it can read archives whose files have holes, which other clients' readers may not.
_SPARSE: Final = "x-corten-sparse"


def _path(call: Call) -> str:
    """``path``; Docker's text, its missing space included."""
    path = call.query.text("path")
    if not path:
        raise InvalidArgument("bad parameter: pathcannot be empty")
    if "\0" in path:
        raise InvalidArgument("bad parameter: path has a null byte")
    return path


def _stat_header(found: PathStat) -> tuple[str, str]:
    return "X-Docker-Container-Path-Stat", base64.b64encode(encode(found)).decode()


async def look(call: Call) -> Reply:
    found = await call.engine.files.look(call.name, _path(call))
    return Reply(headers=(_stat_header(found),))


async def archive(call: Call) -> None:
    sparse = call.header(_SPARSE) == "1"
    call.exchange.follow_client()
    async with call.engine.files.archive(call.name, _path(call), sparse=sparse) as (found, chunks):
        call.exchange.begin(200, [("Content-Type", _TAR), _stat_header(found), *response_headers()])
        await _send(call, chunks)


async def extract(call: Call) -> Reply:
    call.exchange.follow_client()
    await call.engine.files.extract(
        call.name,
        _path(call),
        call.exchange.body.chunks(),
        strict=call.query.flag("noOverwriteDirNonDir"),
        own=call.query.flag("copyUIDGID"),
    )
    return Reply()


async def changes(call: Call) -> Reply:
    return json(await call.engine.files.changes(call.name))


async def export(call: Call) -> None:
    chunks = await call.engine.files.export(call.name)
    call.begin("application/octet-stream")
    await _send(call, chunks)


async def _send(call: Call, chunks: AsyncIterator[bytes]) -> None:
    call.exchange.widen()
    async for chunk in chunks:
        await call.exchange.write(chunk)
    call.exchange.end()


async def commit(call: Call) -> Reply:
    identifier = await call.engine.files.commit(
        call.query.text("container"),
        await call.optional_body(ContainerConfig),
        repo=call.query.text("repo"),
        tag=call.query.text("tag"),
        author=call.query.text("author"),
        comment=call.query.text("comment"),
        changes=call.query.texts("changes"),
        pause=call.query.text("pause") == "" or call.query.flag("pause"),
    )
    return json({"Id": identifier}, 201)


ROUTES: Final = (
    Route("HEAD", "/containers/{name}/archive", look),
    Route("GET", "/containers/{name}/archive", archive),
    Route("PUT", "/containers/{name}/archive", extract),
    Route("GET", "/containers/{name}/changes", changes),
    Route("GET", "/containers/{name}/export", export),
    Route("POST", "/commit", commit),
)
