"""Where ``cp`` puts things: the table of Docker's reference (docker container cp, "Extended description")."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corten.cli import copying
from corten.cli.copying import Destination, Source
from corten.client.errors import ClientError

MISSING = {"exists": False, "is_directory": False}
FILE = {"exists": True, "is_directory": False}
DIRECTORY = {"exists": True, "is_directory": True}


@pytest.mark.parametrize(
    ("source", "is_directory", "target", "there", "result"),
    [
        ("/a/f", False, "/t/new", MISSING, ("/t", "new")),
        ("/a/f", False, "/t/new/", MISSING, "no such directory"),
        ("/a/f", False, "/t/new/.", MISSING, "no such directory"),
        ("/a/f", False, "/t/old", FILE, ("/t", "old")),
        ("/a/f", False, "/t", DIRECTORY, ("/t", "f")),
        ("/a/f", False, "", MISSING, "no such directory"),
        ("/a/d", True, "/t/new", MISSING, ("/t", "new")),
        ("/a/d", True, "/t/new/", MISSING, ("/t", "new")),
        ("/a/d/.", True, "/t/new", MISSING, ("/t", "new")),
        ("/a/d", True, "/t/old", FILE, "cannot copy directory"),
        ("/a/d", True, "/t", DIRECTORY, ("/t", "d")),
        ("/a/d/", True, "/t", DIRECTORY, ("/t", "d")),
        ("/a/d/.", True, "/t", DIRECTORY, ("/t", "")),
        ("/", True, "/t", DIRECTORY, ("/t", "")),
        ("/", True, "/t/new", MISSING, ("/t", "new")),
        ("/a/d", True, "rel", MISSING, (".", "rel")),
    ],
)
def test_where_the_top_entry_goes(
    source: str, is_directory: bool, target: str, there: dict[str, bool], result: tuple[str, str] | str
) -> None:
    asked = Source(source, is_directory=is_directory)
    if isinstance(result, str):
        with pytest.raises(ClientError, match=result):
            copying.placed(asked, Destination(target, **there))
    else:
        assert copying.placed(asked, Destination(target, **there)) == result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("c:/p", ("c", "/p")), ("c:p:q", ("c", "p:q")), ("/a:b", ("", "/a:b")), ("./a:b", ("", "./a:b")),
        ("../a:b", ("", "../a:b")), ("plain", ("", "plain")), ("-", ("", "-")), ("c:", ("c", "")),
    ],
)  # fmt: skip
def test_which_argument_names_a_container(text: str, result: tuple[str, str]) -> None:
    assert copying.split_argument(text) == result


@pytest.mark.parametrize(
    ("path", "follow", "name", "is_directory"),
    [
        ("real", False, "real", True), ("link", False, "link", False), ("link", True, "link", True),
        ("link/", False, "link", True), ("link/.", False, ".", True), ("real/file", True, "file", False),
        ("real/inner", False, "inner", False), ("real/inner", True, "inner", False),
    ],
)  # fmt: skip
def test_local_sources(tmp_path: Path, path: str, follow: bool, name: str, is_directory: bool) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").touch()
    (tmp_path / "real/inner").symlink_to("file")
    (tmp_path / "link").symlink_to("real")
    found = copying.local_source(f"{tmp_path}/{path}", follow=follow)
    assert (found.name, found.is_directory) == (name, is_directory)
    assert os.path.lexists(found.path)


def test_a_local_source_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="no such file or directory"):
        copying.local_source(f"{tmp_path}/nothing", follow=False)


def test_local_destinations(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "dangling").symlink_to("there/new")
    (tmp_path / "loop").symlink_to("loop")
    assert copying.local_destination(f"{tmp_path}/link").is_directory
    assert copying.local_destination(f"{tmp_path}/dangling").path == f"{tmp_path}/there/new"
    assert not copying.local_destination(f"{tmp_path}/new").exists
    with pytest.raises(ClientError, match="too many symlinks"):
        copying.local_destination(f"{tmp_path}/loop")
    with pytest.raises(ClientError, match="not a directory"):
        copying.local_destination(f"{tmp_path}/no/where")
    with pytest.raises(ClientError, match="got a device"):
        copying.check_output("/dev/null")
    with pytest.raises(ClientError, match="does not exist"):
        copying.check_output(f"{tmp_path}/no/where")
