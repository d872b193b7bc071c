# ruff: noqa: ASYNC110, ASYNC221, ASYNC240 - the host is looked at in between, and nobody else waits
"""Attacks on what looks into containers from outside, under the names of the reports of their classes.

Every test has a canary outside of the container: a directory whose only file is called ``secret``.
"""

from __future__ import annotations

import asyncio
import ctypes
import gzip
import io
import lzma
import os
import subprocess
import tarfile  # noqa: TID251  archives no program of ours would write
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.harness import tars
from tests.kernel.engine.conftest import Site, eventually

from corten.api.types.container import HostConfig
from corten.engine.engine import Engine
from corten.errors import CortenError
from corten.tar import header

pytestmark = pytest.mark.root

ROUNDS = 1000
USERNS = (
    "",
    "auto",
)  # seen through a mount namespace of its own, and through the one its locked mounts were copied from
_LIBC = ctypes.CDLL(None)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "canary"
    place.mkdir()
    (place / "secret").write_text("of the host")
    mounts = Path("/proc/self/mountinfo").read_text()
    yield place
    assert os.listdir(place) == ["secret"]
    assert (place / "secret").read_text() == "of the host"
    assert Path("/proc/self/mountinfo").read_text() == mounts


def host_of(userns: str, *binds: str) -> HostConfig:
    return HostConfig(NetworkMode="none", Binds=list(binds), UsernsMode=userns)


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def put(engine: Engine, container: str, path: str, data: bytes, *, strict: bool = True) -> None:
    await engine.files.extract(container, path, once(data), strict=strict, own=False)


async def taken(engine: Engine, container: str, path: str) -> dict[str, bytes]:
    """Names and contents of what ``cp`` gives."""
    async with engine.files.archive(container, path) as (_, chunks):
        raw = b"".join([chunk async for chunk in chunks])
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        return {
            member.name: (tar.extractfile(member) or io.BytesIO()).read() if member.isreg() else b"" for member in tar
        }


async def image(engine: Engine, name: str, *members: bytes, changes: tuple[str, ...] = ()) -> None:
    """An image of busybox and ``members``."""
    program = Path("/usr/bin/busybox").read_bytes()
    names = ("sh", "cat", "sleep", "true", "ls", "id", "touch")
    base = [tars.directory("bin"), tars.file("bin/busybox", program, mode=0o755)]
    base += [tars.symlink(f"bin/{applet}", "busybox") for applet in names]

    async def progress(_: object) -> None:
        return

    await engine.images.import_(
        once(tars.archive(*base, *members)), repo=name, tag="latest", changes=changes, progress=progress
    )


async def running(engine: Engine, site: Site, script: str, host: HostConfig | None = None) -> tuple[str, Path]:
    """A container that has run ``script`` and sleeps; its id and its root as itself sees it."""
    container = await site.create(engine, "sh", "-c", f"{script}; touch /ready; sleep 1000", host=host)
    await engine.containers.start(container)
    found = await engine.containers.inspect(container)
    root = Path(f"/proc/{found.State.Pid}/root")
    await eventually((root / "ready").exists)
    return container, root


@contextmanager
def flipping(one: Path, other: Path) -> Iterator[None]:
    """Exchange two names as fast as one thread can, as the container's own processes may."""
    stop = threading.Event()

    def flip() -> None:
        while not stop.is_set():
            assert _LIBC.renameat2(-100, bytes(one), -100, bytes(other), 2) == 0  # RENAME_EXCHANGE

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("userns", USERNS)
def test_cve_2018_15664_links_exchanged_during_a_copy(site: Site, canary: Path, userns: str) -> None:
    """A directory on the copied path flips with a link to the host, 1,000 times read and 1,000 times written."""

    async def attack() -> None:
        async with site.running() as engine:
            script = f"mkdir -p /t/a/deep; echo inside > /t/a/secret; ln -s {canary} /t/b; ln -s /t /t/a/deep/up"
            container, root = await running(engine, site, script, host_of(userns))
            outcomes = set()
            new = tars.archive(tars.directory("deep"), tars.file("deep/new", b"x"), tars.file("secret", b"inside\n"))
            async with engine.files.archive(container, "/t"):  # the view, made once
                with flipping(root / "t/a", root / "t/b"):
                    for turn in range(ROUNDS):
                        path = ("/t/a/secret", "/t/a/", "/t/a/deep/up/b/secret")[turn % 3]
                        try:
                            found = await taken(engine, container, path)
                        except CortenError as error:
                            outcomes.add(type(error).__name__)
                        else:
                            assert b"of the host" not in b"".join(found.values())
                            outcomes.update(found)
                        try:
                            await put(engine, container, "/t/a", new, strict=bool(turn % 2))
                        except CortenError as error:
                            outcomes.add(type(error).__name__)
            assert {"secret", "NotFound"} <= outcomes  # both sides of the race were met

    asyncio.run(attack())


@pytest.mark.parametrize("userns", USERNS)
def test_cve_2018_15664_a_file_exchanged_while_it_is_unpacked(site: Site, canary: Path, userns: str) -> None:
    """The attack on chmod(2) and chown(2) by name: what was just made flips with a link to the host."""

    async def attack() -> None:
        async with site.running() as engine:
            script = f"mkdir /t; touch /t/n; ln -s {canary}/secret /t/m"
            container, root = await running(engine, site, script, host_of(userns))
            hostile = tars.archive(
                tars.entry("n", header.FIFO, mode=0o666, uid=1, gid=1),
                tars.entry("n", header.CHARACTER, mode=0o666, uid=1, gid=1, major=1, minor=3),
                tars.file("n", b"x", mode=0o666, uid=1, gid=1),
            )
            before = (canary / "secret").stat()
            stop = threading.Event()

            def flip() -> None:
                while not stop.is_set():
                    _LIBC.renameat2(-100, bytes(root / "t/n"), -100, bytes(root / "t/m"), 2)

            thread = threading.Thread(target=flip)
            thread.start()
            try:
                async with engine.files.archive(container, "/t"):
                    for _ in range(ROUNDS * 4):
                        try:
                            await put(engine, container, "/t", hostile, strict=False)
                        except CortenError:
                            continue
            finally:
                stop.set()
                thread.join()
            after = (canary / "secret").stat()
            assert (before.st_mode, before.st_uid, before.st_mtime_ns) == (
                after.st_mode,
                after.st_uid,
                after.st_mtime_ns,
            )

    asyncio.run(attack())


TROJANS = ("bin/xz", "usr/bin/xz", "bin/gzip", "usr/bin/unpigz", "bin/unpigz", "bin/tar", "usr/bin/tar", "sbin/unxz")


def test_cve_2019_14271_and_2026_41567_nothing_of_the_image_is_run_or_loaded(site: Site) -> None:
    """Trojan decompressors, name services and modules; every way of copying is taken, with compressed archives."""
    script = b"#!/bin/sh\n/bin/touch /owned\nexec /bin/cat\n"
    python = b"open('/owned', 'w')\n"
    members = [tars.file(name, script, mode=0o755) for name in TROJANS]
    for folder in ("lib/x86_64-linux-gnu", "lib64", "usr/lib"):
        members += [
            tars.file(f"{folder}/libnss_{kind}.so.2", b"\x7fELF garbage") for kind in ("files", "dns", "trojan")
        ]
    members.append(tars.file("etc/nsswitch.conf", b"passwd: trojan\n"))
    members.append(tars.file("etc/passwd", b"user:x:1000:1000::/:/bin/sh\n"))
    for folder in ("usr/lib/python3.11", "usr/lib/python3.13", "usr/lib/python3/dist-packages", "place"):
        members += [tars.file(f"{folder}/{name}.py", python) for name in ("sitecustomize", "lzma", "encodings", "stat")]

    async def attack() -> None:
        async with site.running() as engine:
            await image(engine, "trojan", *members)
            container = await site.create(engine, "true", Image="trojan", User="user", WorkingDir="/place")
            archive = tars.archive(tars.file("given", b"x"))
            for stream in (archive, gzip.compress(archive), lzma.compress(archive)):
                await engine.files.extract(container, "/place", once(stream), strict=True, own=True)
                assert (await taken(engine, container, "/place/given"))["given"] == b"x"
            stream = b"".join([chunk async for chunk in await engine.files.export(container)])
            with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
                assert "owned" not in tar.getnames()
            await engine.images.remove(await engine.files.commit(container, None))
            changed = [change.Path for change in await engine.files.changes(container)]
            assert "/place/given" in changed
            assert "/owned" not in changed
            assert not Path("/owned").exists()

    asyncio.run(with_image_removed(site, attack))


async def with_image_removed(site: Site, attack: object) -> None:
    """Run it, then leave the site's images as they were."""
    await attack()  # type: ignore[operator]
    async with site.running() as engine:
        for row in await engine.images.list():
            if "busybox:latest" not in (row.RepoTags or ()):
                await engine.images.remove(row.Id, force=True)


@pytest.mark.parametrize("userns", USERNS)
def test_cve_2026_41568_and_42306_mount_points_exchanged_while_a_view_is_made(
    site: Site, canary: Path, userns: str
) -> None:
    """A volume's target flips between a directory and a link to the host while views are built again and again."""

    async def attack() -> None:
        async with site.running() as engine:
            host = host_of(userns, "raced:/m/a/deep/target")
            script = f"mkdir -p /m/a/deep; ln -s {canary} /m/b"
            container = await site.create(engine, "sh", "-c", f"{script}; touch /ready; sleep 1000", host=host)
            await engine.containers.start(container)
            pid = (await engine.containers.inspect(container)).State.Pid
            root = Path(f"/proc/{pid}/root")
            while not (root / "ready").exists():
                await asyncio.sleep(0.02)
            seen = set()
            with flipping(root / "m/a", root / "m/b"):
                for _ in range(60):
                    try:
                        found = await engine.files.look(container, "/m/a/deep/target")
                        seen.add(found.name)
                        await put(engine, container, "/m/a", tars.archive(tars.file("x", b"")), strict=True)
                    except CortenError as error:
                        seen.add(type(error).__name__)
            assert seen
            assert os.listdir(canary) == ["secret"]

    asyncio.run(attack())


def test_cve_2026_41568_an_image_whose_var_run_is_a_link_still_works(site: Site) -> None:
    """The first fix broke this: /var/run -> /run is in every Debian image, and volumes lie below it."""

    async def use() -> None:
        async with site.running() as engine:
            await image(
                engine, "debianlike", tars.directory("run"), tars.directory("var"), tars.symlink("var/run", "/run")
            )
            host = HostConfig(NetworkMode="none", Binds=["inside:/var/run/data"])
            container = await site.create(engine, "cat", "/run/data/f", "/run/g", Image="debianlike", host=host)
            await put(engine, container, "/var/run/data", tars.archive(tars.file("f", b"volume ")))
            await put(engine, container, "/var/run", tars.archive(tars.file("g", b"root")))
            assert (await engine.files.look(container, "/var/run")).linkTarget == "/run"
            assert (await taken(engine, container, "/run/data/f"))["f"] == b"volume "
            over = await engine.containers.wait(container, condition="next-exit")
            await engine.containers.start(container)
            assert (await asyncio.wait_for(over, 10))[0] == 0
            await engine.containers.remove(container, volumes=True)

    asyncio.run(with_image_removed(site, use))


TARGETS = ("dev", "proc", "sys", "etc", "etc/hosts")
LINKS = ("{canary}", "../../../../../../../..{canary}", "loop", "/nowhere/at/all")


@pytest.mark.parametrize("target", TARGETS)
def test_cve_2026_41579_and_47766_links_where_the_engine_mounts(site: Site, canary: Path, target: str) -> None:
    """Absolute, relative, looping and dangling; the container is run and looked into, and the host keeps its files."""

    async def attack() -> None:
        before = set(os.listdir("/"))
        async with site.running() as engine:
            for number, link in enumerate(LINKS):
                where = target if link == "loop" else link.format(canary=canary)
                members = [tars.directory("etc")] if "/" in target else []
                await image(engine, f"linked{number}", *members, tars.symlink(target, where))
                container = await site.create(engine, "true", Image=f"linked{number}")
                try:
                    await engine.containers.start(container)
                except CortenError:
                    pass  # refused is as good
                for path in (f"/{target}", f"/{target}/", f"/{target}/secret"):
                    try:
                        found = await taken(engine, container, path)
                    except CortenError:
                        continue
                    assert b"of the host" not in b"".join(found.values())
                assert os.listdir(canary) == ["secret"]
        assert set(os.listdir("/")) == before

    asyncio.run(with_image_removed(site, attack))


@pytest.mark.parametrize("volume", ["../../etc", "/../../etc/../etc", "/vol", "/a/b"])
def test_cve_2022_23648_volumes_of_an_image_hold_nothing_of_the_host(site: Site, canary: Path, volume: str) -> None:
    """VOLUME leads out by dots, or the image has a link to the host there: copy-up and mount stay inside."""

    async def attack() -> None:
        async with site.running() as engine:
            await image(
                engine,
                "volumes",
                tars.symlink("vol", str(canary)),
                tars.symlink("a", f"../../../../../../..{canary.parent}"),
                tars.file("etc/inside", b"image"),
                changes=(f'VOLUME ["{volume}"]',),
            )
            try:
                container = await site.create(engine, "true", Image="volumes")
                await engine.containers.start(container)
            except CortenError:
                return
            mounts = (await engine.containers.inspect(container)).Mounts
            for mount in mounts:
                held = {name for _, _, files in os.walk(mount.Source) for name in files}
                assert held <= {"inside", "hosts", "hostname", "resolv.conf"}  # the image's, and what is mounted there
            assert not Path("/etc/inside").exists()

    asyncio.run(with_image_removed(site, attack))


HOSTILE = {
    "dots": [tars.file("../../../../tmp/escaped", b"x")],
    "absolute": [tars.file("/escaped", b"x")],
    "through a link": [tars.symlink("l", "{canary}"), tars.file("l/escaped", b"x")],
    "through a relative link": [tars.symlink("l", "../../../../../../../..{canary}"), tars.file("l/escaped", b"x")],
    "over a link": [tars.symlink("l", "{canary}/secret"), tars.file("l", b"x")],
    "hard link": [tars.link("l", "../../../../../..{canary}/secret"), tars.file("l", b"x")],
    "hard link to a link": [tars.symlink("s", "{canary}/secret"), tars.link("l", "s"), tars.file("l", b"x")],
    "directory for a link": [
        tars.symlink("l", "{canary}"),
        tars.directory("l", mode=0o777),
        tars.file("l/escaped", b""),
    ],
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("strict", [True, False])
def test_archives_that_want_out_stay_in(site: Site, canary: Path, name: str, strict: bool) -> None:
    async def attack() -> None:
        async with site.running() as engine:
            container = await site.create(engine, "true")
            raw = tars.archive(*HOSTILE[name])
            if b"{canary}" in raw:
                members = [
                    tars.symlink(member[:100].rstrip(b"\0").decode(), _target(member).format(canary=canary))
                    if member[156:157] == header.SYMLINK
                    else member
                    for member in HOSTILE[name]
                ]
                raw = tars.archive(*members)
            try:
                await put(engine, container, "/home", raw, strict=strict)
            except CortenError:
                pass
            assert not Path("/escaped").exists()
            assert not Path("/tmp/escaped").exists()

    asyncio.run(attack())


def _target(member: bytes) -> str:
    return member[157:257].rstrip(b"\0").decode()


@pytest.mark.parametrize("userns", USERNS)
def test_what_is_mounted_in_a_container_is_not_removed_by_a_copy(site: Site, userns: str) -> None:
    """unlink(2) from another mount namespace would take the mount off in the container."""

    async def attack() -> None:
        async with site.running() as engine:
            host = host_of(userns, "kept:/home/v")
            container, root = await running(engine, site, "echo precious > /home/v/f", host)
            for member in (tars.file("v", b"x"), tars.symlink("v", "/")):
                with pytest.raises(CortenError, match="busy"):
                    await put(engine, container, "/home", tars.archive(member), strict=False)
            with pytest.raises(CortenError, match="busy"):
                await put(engine, container, "/", tars.archive(tars.file("home", b"x")), strict=False)
            with pytest.raises(CortenError, match="busy"):
                await put(engine, container, "/etc", tars.archive(tars.file("hosts", b"x")), strict=False)
            assert (root / "home/v/f").read_text() == "precious\n"
            assert "/home/v" in (root.parent / "mountinfo").read_text()
            await engine.containers.remove(container, force=True, volumes=True)
            await engine.volumes.remove("kept", force=False)

    asyncio.run(attack())


@pytest.mark.parametrize("kind", ["fifo", "device", "socket"])
def test_a_copy_never_opens_what_is_no_file(site: Site, kind: str) -> None:
    """A FIFO would block a thread for ever, a device may do anything when it is opened."""

    async def look() -> None:
        async with site.running() as engine:
            container, root = await running(engine, site, "mkdir /t; mkfifo /t/fifo; echo x > /t/f")
            if kind == "device":
                os.mknod(root / "t/device", 0o20666, os.makedev(10, 130))  # a watchdog, if the host has one
            elif kind == "socket":
                subprocess.run(["python3", "-c", f"import socket; socket.socket(1).bind('{root}/t/s')"], check=True)
            found = await asyncio.wait_for(taken(engine, container, "/t"), 10)
            assert found["t/f"] == b"x\n"
            assert ("t/device" in found) == (kind == "device")
            assert "t/s" not in found

    asyncio.run(look())


def test_through_a_user_namespace_nothing_kernel_made_is_seen(site: Site, canary: Path) -> None:
    """Its /proc, /sys, /dev and tmpfs stay its own: a copy reaches the tree below them, and a bind keeps the host's ids.

    The class of CVE-2018-15664: what is seen from outside must not be more than what Docker shows.
    """

    async def look() -> None:
        async with site.running() as engine:
            bound = canary.parent / "bound"
            bound.mkdir(mode=0o777)
            host = HostConfig(
                NetworkMode="none", Binds=[f"{bound}:/b"], Tmpfs={"/scratch": ""}, UsernsMode="auto"
            )  # fmt: skip
            container, root = await running(engine, site, "echo x > /scratch/f; echo x > /dev/shm/f", host)
            for path in ("/proc", "/sys", "/dev/shm", "/scratch"):
                assert len(await taken(engine, container, path)) == 1
            await put(engine, container, "/proc", tars.archive(tars.file("below", b"x")))
            assert not (root / "proc/below").exists()
            await put(engine, container, "/b", tars.archive(tars.file("given", b"x", uid=7, gid=8)))
            ids = (root / "b/given").stat()
            base = int((root.parent / "uid_map").read_text().split()[1])
            assert (ids.st_uid, ids.st_gid) == (base + 7, base + 8)
            (bound / "hosts").touch()
            async with engine.files.archive(container, "/b") as (_, chunks):
                raw = b"".join([chunk async for chunk in chunks])
            with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
                owners = {member.name: (member.uid, member.gid) for member in tar}
            assert owners["b/given"] == (7, 8)
            assert owners["b/hosts"] == (65534, 65534)  # as the container sees it
            with pytest.raises(CortenError, match="Container ID 70000 cannot be mapped to a host ID"):
                await put(engine, container, "/", tars.archive(tars.file("strange", b"x", uid=70000)))
            assert not (root / "strange").exists()

    asyncio.run(look())
