"""What removing an image means: Docker's rules (moby ``daemon/images/image_delete.go``), decided without doing.

Owns the order of untagging and deleting and every conflict's text. Refuses to change anything: a :class:`Plan` says
what to untag and which images go, :mod:`corten.engine.images.service` carries it out.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from corten.engine.images.record import ImageRecord
from corten.engine.images.store import ImageStore
from corten.engine.images.usage import ImageUse
from corten.errors import Conflict
from corten.oci.digest import Digest
from corten.oci.reference import Reference


class Plan(NamedTuple):
    """``untag`` in the order to report; ``delete``: the images to remove afterwards, child before parent."""

    image: ImageRecord
    untag: list[Reference]
    delete: list[ImageRecord]


def plan(store: ImageStore, uses: Sequence[ImageUse], name: str, *, force: bool, prune: bool) -> Plan:
    """Decide; raises NoSuchImage and Conflict."""
    image = store.find(name).image
    references = store.names(image.id)
    users = [use for use in uses if use.image_id == image.id]
    if _is_id(image.id, name):
        return _plan_by_id(store, image, references, users, uses, force=force, prune=prune)
    return _plan_by_name(store, image, references, users, uses, name, force=force, prune=prune)


def _plan_by_name(
    store: ImageStore,
    image: ImageRecord,
    references: list[Reference],
    users: Sequence[ImageUse],
    uses: Sequence[ImageUse],
    name: str,
    *,
    force: bool,
    prune: bool,
) -> Plan:
    if users and not force and is_single(references):
        # Untagging would leave a nameless image behind that a container still needs.
        raise Conflict(
            f'conflict: unable to remove repository reference "{name}" (must force) - container '
            f"{users[0].container_id[:12]} is using its referenced image {image.id.hex[:12]}"
        )
    wanted = Reference.parse(name).with_default_tag()
    target = wanted.with_digest(wanted.digest) if wanted.digest else wanted
    untag = [target]
    rest = [reference for reference in references if reference != target]
    if not target.digest and not any(other.tag and other.name == target.name for other in rest):
        # The last tag of a repository takes that repository's digests along.
        untag += [other for other in rest if other.name == target.name]
        rest = [other for other in rest if other.name != target.name]
    if rest:
        return Plan(image, untag, [])
    try:
        check(store, image, users, [], force=force)
    except Conflict:
        return Plan(image, untag, [])
    return Plan(image, untag, [image, *(_parents(store, image, uses) if prune else ())])


def _plan_by_id(
    store: ImageStore,
    image: ImageRecord,
    references: list[Reference],
    users: Sequence[ImageUse],
    uses: Sequence[ImageUse],
    *,
    force: bool,
    prune: bool,
) -> Plan:
    remaining = [] if is_single(references) else references
    check(store, image, users, remaining, force=force)
    return Plan(image, references, [image, *(_parents(store, image, uses) if prune else ())])


def check(
    store: ImageStore, image: ImageRecord, users: Sequence[ImageUse], remaining: Sequence[Reference], *, force: bool
) -> None:
    """Raise Conflict when the image may not be deleted."""
    short = image.id.hex[:12]
    hard = f"conflict: unable to delete {short} (cannot be forced) - "
    soft = f"conflict: unable to delete {short} (must be forced) - "
    if any(other.parent == image.id for other in store.visible()):
        raise Conflict(f"{hard}image has dependent child images")
    running = [use for use in users if use.running]
    if running:
        raise Conflict(f"{hard}image is being used by running container {running[0].container_id[:12]}")
    if store.leased(image.id):
        raise Conflict(f"{hard}image is being used by a request in progress")
    if force:
        return
    if remaining:
        raise Conflict(f"{soft}image is referenced in multiple repositories")
    if users:
        raise Conflict(f"{soft}image is being used by stopped container {users[0].container_id[:12]}")


def is_single(references: Sequence[Reference]) -> bool:
    """Whether removing the image by id may take these names along: at most one tag, all of one repository."""
    tags = [reference for reference in references if reference.tag]
    return len(references) <= 1 or (len(tags) <= 1 and len({reference.name for reference in references}) == 1)


def unneeded(store: ImageStore, hidden_users: Iterable[str]) -> list[ImageRecord]:
    """Hidden images whose last container is gone."""
    needed = set(hidden_users)
    return [image for image in store.images.values() if image.hidden and str(image.id) not in needed]


def _parents(store: ImageStore, image: ImageRecord, uses: Sequence[ImageUse]) -> list[ImageRecord]:
    """Untagged ancestors that nothing but ``image`` needs, nearest first."""
    found: list[ImageRecord] = []
    gone = {image.id}
    while image.parent and (parent := store.images.get(image.parent)) is not None:
        children = [other for other in store.visible() if other.parent == parent.id and other.id not in gone]
        used = any(use.image_id == parent.id for use in uses) or store.leased(parent.id)
        if children or used or parent.hidden or store.names(parent.id):
            break
        found.append(parent)
        gone.add(parent.id)
        image = parent
    return found


def _is_id(image: Digest, name: str) -> bool:
    return str(image).startswith(name) or image.hex.startswith(name)
