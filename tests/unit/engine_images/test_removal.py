import asyncio
from pathlib import Path

import pytest

from corten.engine.images import removal
from corten.engine.images.record import ImageRecord, ManifestRecord, ReferenceRecord
from corten.engine.images.store import Change, ImageStore
from corten.engine.images.usage import ImageUse
from corten.errors import Conflict, CortenError, NoSuchImage
from corten.oci.digest import Digest
from corten.storage.metadata import Database


def digest(number: int) -> Digest:
    return Digest(f"sha256:{number:064x}")


def image(number: int, **fields: object) -> ImageRecord:
    return ImageRecord(
        id=digest(number), manifest=digest(number + 1000), chain=(digest(7),), sizes=(1,), created=number & 0xFFFF,
        os="linux", architecture="amd64", **fields,  # type: ignore[arg-type]
    )  # fmt: skip


def manifest(number: int) -> ManifestRecord:
    return ManifestRecord(digest=digest(number + 1000), media_type="m", size=1, image=digest(number), layers=())


async def stored(path: Path, names: dict[str, int], *images: ImageRecord) -> ImageStore:
    store = ImageStore(Database(path / "db"))
    numbers = [int(found.id.hex, 16) for found in images]
    await store.commit(
        Change(
            images={found.id: found for found in images},
            manifests={digest(number + 1000): manifest(number) for number in numbers},
            references={name: ReferenceRecord(digest(number), digest(number + 1000)) for name, number in names.items()},
        )
    )
    again = ImageStore(Database(path / "db"))
    again.load()
    return again


HUB = "docker.io/library/"


def plan(
    path: Path, names: dict[str, int], name: str, *, uses: list[ImageUse] | None = None, force: bool = False
) -> tuple[list[str], list[Digest]]:
    store = asyncio.run(stored(path, names, image(0xAAA), image(0xBBB, parent=str(digest(0xAAA)))))
    found = removal.plan(store, uses or [], name, force=force, prune=True)
    return [reference.familiar() for reference in found.untag], [gone.id for gone in found.delete]


def test_one_of_two_names_is_only_untagged(tmp_path: Path) -> None:
    names = {f"{HUB}a:1": 0xBBB, f"{HUB}b:1": 0xBBB}
    assert plan(tmp_path, names, "a:1") == (["a:1"], [])


def test_the_last_tag_takes_its_repositorys_digests_and_an_unneeded_parent_along(tmp_path: Path) -> None:
    names = {f"{HUB}a:1": 0xBBB, f"{HUB}a@{digest(5)}": 0xBBB}
    assert plan(tmp_path, names, "a:1") == (["a:1", f"a@{digest(5)}"], [digest(0xBBB), digest(0xAAA)])


def test_a_parent_cannot_be_forced(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match=r"cannot be forced\) - image has dependent child images"):
        plan(tmp_path, {}, str(digest(0xAAA)), force=True)


def test_a_name_a_container_uses(tmp_path: Path) -> None:
    uses = [ImageUse("c" * 64, str(digest(0xBBB)), False)]
    with pytest.raises(Conflict) as caught:
        plan(tmp_path, {f"{HUB}a:latest": 0xBBB}, "a", uses=uses)
    assert str(caught.value) == (
        f'conflict: unable to remove repository reference "a" (must force) - container {"c" * 12} is using its '
        f"referenced image {digest(0xBBB).hex[:12]}"
    )


def test_force_untags_under_a_running_container_and_deletes_under_a_stopped_one(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "s").mkdir()
    names = {f"{HUB}a:latest": 0xBBB}
    running = [ImageUse("c" * 64, str(digest(0xBBB)), True)]
    stopped = [ImageUse("c" * 64, str(digest(0xBBB)), False)]
    assert plan(tmp_path / "r", names, "a", uses=running, force=True) == (["a:latest"], [])
    assert plan(tmp_path / "s", names, "a", uses=stopped, force=True)[1][0] == digest(0xBBB)


def test_an_id_in_several_repositories_must_be_forced(tmp_path: Path) -> None:
    names = {f"{HUB}a:1": 0xBBB, f"{HUB}b:1": 0xBBB}
    with pytest.raises(Conflict, match=r"must be forced\) - image is referenced in multiple repositories"):
        plan(tmp_path, names, str(digest(0xBBB)))


def test_looking_up_by_prefix(tmp_path: Path) -> None:
    store = asyncio.run(stored(tmp_path, {f"{HUB}a:1": 0xBBB}, image(0xAAA << 244), image(0xAAB << 244)))
    assert store.find("aaa").image.id == digest(0xAAA << 244)
    assert store.find("sha256:aab").image.id == digest(0xAAB << 244)
    with pytest.raises(CortenError, match="multiple IDs found with provided prefix: aa"):
        store.find("aa")
    with pytest.raises(NoSuchImage, match="No such image: debian:latest"):
        store.find("debian")
    with pytest.raises(NoSuchImage):
        store.find("a:1")  # its image is not there: load() dropped the name


def test_a_record_nobody_can_read_is_set_aside(tmp_path: Path) -> None:
    database = Database(tmp_path / "db")
    with database.transaction() as transaction:
        transaction.put("image", "sha256:" + "0" * 64, b"{broken")
    store = ImageStore(database)
    assert len(store.load()) == 1
    assert database.quarantined()[0][0] == "image"
