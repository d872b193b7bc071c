"""Pull, push and login: the client's request, put to the right registry with the right settings.

Owns the choice of registry, of the names that are meant, and the events. The registry client is imported at its first
use: an engine that only runs containers does not pay for it.
"""

import asyncio
import importlib
from typing import TYPE_CHECKING, cast

from corten.api.filters import Filters
from corten.api.types.image import SearchResult
from corten.engine.config import EngineConfig
from corten.engine.events import EventService
from corten.engine.images import search as searching
from corten.engine.images.layers import LayerFetcher
from corten.engine.images.parts import ImageParts
from corten.engine.images.store import Found, ImageStore
from corten.engine.progress import Reporter, Sink, message
from corten.errors import CortenError, InvalidArgument, NotFound, Unauthorized
from corten.oci import platform as platforms
from corten.oci.digest import Digest, is_digest
from corten.oci.image import Platform
from corten.oci.reference import Reference
from corten.registry.auth import Credentials
from corten.registry.endpoint import DOCKER_HUB, host_of, settings_from_flags
from corten.storage.content import ContentStore

if TYPE_CHECKING:
    from corten.engine.images.pull import Puller
    from corten.engine.images.push import Pusher
    from corten.registry.client import Registry

_HUB_NAMES = frozenset(("", "index.docker.io", "docker.io", "registry-1.docker.io"))


class Distribution:
    """One for the whole engine."""

    def __init__(
        self,
        config: EngineConfig,
        store: ImageStore,
        content: ContentStore,
        fetcher: LayerFetcher,
        parts: ImageParts,
        events: EventService,
    ) -> None:
        self._config = config
        self._settings = settings_from_flags(config.registry_mirrors, config.insecure_registries)
        self._store = store
        self._content = content
        self._fetcher = fetcher
        self._parts = parts
        self._events = events
        self._puller: Puller | None = None
        self._pusher: Pusher | None = None

    async def pull(
        self, name: str, tag: str = "", *, platform: str = "", auth: Credentials | None = None, progress: Sink
    ) -> None:
        """``POST /images/create?fromImage=name&tag=tag``; ``tag`` may be a digest; without one: all tags."""
        reference = _named(name, tag)
        wanted = platforms.parse(platform) if platform else None
        await self._load_client()
        async with self._registry(reference.domain, auth, push=False) as registry, Reporter(progress) as reporter:
            try:
                every = [reference]
                if not reference.tag and not reference.digest:
                    every = [reference.with_tag(found) for found in await registry.tags(reference)]
                for each in every:
                    await self._pull_one(registry, each, wanted, reporter)
            except Unauthorized as exc:
                # dockerd answers 500 here: at a 401 the docker CLI asks for a password on the terminal.
                raise CortenError(str(exc)) from exc

    async def push(
        self, name: str, tag: str = "", *, platform: str = "", auth: Credentials | None = None, progress: Sink
    ) -> None:
        """``POST /images/{name}/push?tag=tag``; without a tag every tag of the repository is pushed."""
        reference = _named(name, tag)
        if reference.digest:
            raise InvalidArgument("cannot push a digest reference")
        found = self._to_push(reference, platform)
        await self._load_client()
        assert self._pusher is not None
        async with self._registry(reference.domain, auth, push=True) as registry, Reporter(progress) as reporter:
            reporter.send(message(f"The push refers to repository [{reference.name}]"))
            try:
                for each, image in found:
                    await self._pusher.push(registry, each, image, reporter)
                    attributes = {"name": each.familiar_name(), **(image.image.labels or {})}
                    self._events.publish("image", "push", each.familiar(), attributes)
            except Unauthorized as exc:
                raise CortenError(str(exc)) from exc

    async def login(self, server_address: str, credentials: Credentials) -> str:
        """``POST /auth``: dockerd's status text; Unauthorized when the registry refuses."""
        host = host_of(server_address) if "://" in server_address else server_address.partition("/")[0]
        domain = DOCKER_HUB if host in _HUB_NAMES else host
        await self._load_client()
        from corten.registry import client  # see the module's docstring

        await client.login(domain, credentials, self._settings)
        return "Login Succeeded"

    async def search(
        self, term: str, *, limit: int | None = None, filters: Filters | None = None, auth: Credentials | None = None
    ) -> list[SearchResult]:
        """``GET /images/search``: what the registry that ``term`` names finds for the rest of it."""
        await self._load_client()
        from corten.registry.search import search  # see the module's docstring

        return await searching.search(
            limit, filters or Filters(), lambda count: search(term, count, auth, self._settings)
        )

    async def _pull_one(
        self, registry: "Registry", reference: Reference, wanted: Platform | None, reporter: Reporter
    ) -> None:
        assert self._puller is not None
        identifier = await self._puller.pull(registry, reference, wanted, reporter)
        labels = self._store.images[identifier].labels or {}
        self._events.publish("image", "pull", reference.familiar(), {"name": reference.familiar_name(), **labels})

    def _to_push(self, reference: Reference, platform: str) -> list[tuple[Reference, Found]]:
        if reference.tag:
            target = self._store.references.get(str(reference))
            names = [reference] if target is not None else []
        else:
            every = (Reference.parse(key) for key in sorted(self._store.references))
            names = [each for each in every if each.tag and each.name == reference.name]
        if not names:
            shown = reference.with_default_tag() if reference.tag else reference
            raise NotFound(f"An image does not exist locally with the tag: {shown.familiar_name()}")
        found = [(each, self._store.find(str(each))) for each in names]
        for each, item in found:
            actual = Platform(architecture=item.image.architecture, os=item.image.os, variant=item.image.variant)
            if platform and not platforms.matches(actual, platforms.parse(platform), exact=True):
                raise NotFound(f"image {each.familiar()} is not for platform {platform}")
        return found

    def _registry(self, domain: str, auth: Credentials | None, *, push: bool) -> "Registry":
        from corten.registry.client import Registry  # see the module's docstring

        attempts = self._config.max_download_attempts
        return Registry(domain, auth, settings=self._settings, push=push, attempts=attempts)

    async def _load_client(self) -> None:
        if self._puller is not None:
            return
        pull = await asyncio.to_thread(importlib.import_module, "corten.engine.images.pull")
        push = await asyncio.to_thread(importlib.import_module, "corten.engine.images.push")
        self._puller = cast("Puller", pull.Puller(self._store, self._content, self._fetcher, self._parts))
        uploads = self._config.max_concurrent_uploads
        self._pusher = cast("Pusher", push.Pusher(self._store, self._content, self._parts, uploads=uploads))


def _named(name: str, tag: str) -> Reference:
    reference = Reference.parse(name)
    if is_digest(tag):
        return reference.with_digest(Digest(tag))
    return reference.with_tag(tag) if tag else reference
