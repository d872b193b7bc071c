"""Root: nothing leads out of the tree, whatever links it holds. openat2(2) needs no privilege."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.linux.path import Root


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[tuple[Root, Path]]:
    top = tmp_path / "top"
    top.mkdir()
    (tmp_path / "outside").mkdir()
    fd = os.open(top, os.O_PATH)
    yield Root(fd), top
    os.close(fd)


def place(fd: int) -> str:
    name = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    return name


@pytest.mark.parametrize("link", ["/", "..", "../..", "/../../..", "../outside", "{outside}"])
def test_links_stay_inside(tree: tuple[Root, Path], link: str) -> None:
    root, top = tree
    (top / "link").symlink_to(link.format(outside=top.parent / "outside"))
    assert place(root.directory("/link/a/b")).startswith(f"{top}/")
    assert place(root.file("/link/c/file")).startswith(f"{top}/")
    assert os.listdir(top.parent / "outside") == []


def test_a_dangling_link_is_followed_as_if_the_tree_were_the_root(tree: tuple[Root, Path]) -> None:
    root, top = tree
    (top / "etc").mkdir()
    (top / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    assert place(root.file("/etc/resolv.conf")) == f"{top}/run/systemd/resolve/stub-resolv.conf"


def test_a_loop_ends(tree: tuple[Root, Path]) -> None:
    root, top = tree
    (top / "loop").symlink_to("loop")
    with pytest.raises(OSError) as caught:  # noqa: PT011  the number is what counts
        root.directory("/loop/x")
    assert caught.value.errno == errno.ELOOP


def test_magic_links_are_refused(tree: tuple[Root, Path]) -> None:
    root = Root(os.open("/proc", os.O_PATH))
    with pytest.raises(OSError) as caught:  # noqa: PT011
        root.open("self/root")
    assert caught.value.errno == errno.ELOOP
    os.close(root.fd)


def test_reading_is_bounded_and_for_regular_files(tree: tuple[Root, Path]) -> None:
    root, top = tree
    (top / "file").write_bytes(b"x" * 100)
    os.mkfifo(top / "fifo")
    assert root.read("file", 100) == b"x" * 100
    for name, number in (("file", errno.EFBIG), ("fifo", errno.EINVAL), (".", errno.EINVAL)):
        with pytest.raises(OSError) as caught:  # noqa: PT011
            root.read(name, 99)
        assert caught.value.errno == number


PARTS = st.lists(st.sampled_from(["a", "b", "..", ".", "l1", "l2", "l3", ""]), min_size=1, max_size=8)
TARGETS = st.sampled_from(["/", "..", "a", "../../x", "/b/../../y", "l2", "/l3/z", "../outside"])


@settings(max_examples=150)
@given(paths=st.lists(PARTS, max_size=4), targets=st.tuples(TARGETS, TARGETS, TARGETS))
def test_any_path_over_any_links_stays_inside(
    tmp_path_factory: pytest.TempPathFactory, paths: list[list[str]], targets: tuple[str, str, str]
) -> None:
    base = tmp_path_factory.mktemp("walk")
    top = base / "top"
    top.mkdir()
    for name, target in zip(("l1", "l2", "l3"), targets, strict=True):
        (top / name).symlink_to(target)
    fd = os.open(top, os.O_PATH)
    try:
        for parts in paths:
            try:
                assert (place(Root(fd).directory("/".join(parts))) + "/").startswith(f"{top}/")
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EAGAIN):
                    raise
    finally:
        os.close(fd)
    assert os.listdir(base) == ["top"]
