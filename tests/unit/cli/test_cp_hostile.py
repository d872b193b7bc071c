"""``cp`` out of a container unpacks on this host: what a hostile engine or container may send changes nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.harness import tars

from corten.cli.commands.cp import CP_FLAGS, Copy
from corten.cli.options import Options
from corten.client.errors import ClientError
from corten.errors import CortenError
from corten.tar import header

HOSTILE = {
    "beside the top": [tars.file("other", b"x")],
    "above": [tars.file("../escaped", b"x")],
    "from below": [tars.file("top/../../escaped", b"x")],
    "absolute": [tars.file("/escaped", b"x")],
    "through a link": [tars.directory("top"), tars.symlink("top/l", "{out}"), tars.file("top/l/escaped", b"x")],
    "through a relative link": [
        tars.directory("top"),
        tars.symlink("top/l", "../.."),
        tars.file("top/l/escaped", b"x"),
    ],
    "through a link that was there": [tars.directory("top"), tars.file("top/there/escaped", b"x")],
    "link to outside": [tars.directory("top"), tars.link("top/h", "../secret")],
}


class _Session:
    """Nothing of a session is needed to unpack."""


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_outside_of_the_destination_changes(tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    (target / "new").mkdir(parents=True)
    (target / "new/there").symlink_to(tmp_path)
    (tmp_path / "secret").write_text("x")
    members = HOSTILE[name]
    raw = tars.archive(*members)
    copy = Copy(_Session(), "box", Options(CP_FLAGS), quiet=True)  # type: ignore[arg-type]
    with pytest.raises((ClientError, CortenError)):
        copy._unpack(iter([raw]), str(target), "top", "new")
    assert sorted(os.listdir(tmp_path)) == ["secret", "target"]
    assert set(os.listdir(target)) == {"new"}
    assert not (tmp_path / "escaped").exists()


def test_the_top_takes_the_name_that_was_asked_for(tmp_path: Path) -> None:
    raw = tars.archive(
        tars.directory("top"), tars.file("top/f", b"1", uid=1234), tars.link("top/h", "top/f"),
        tars.symlink("top/l", "/anywhere"), tars.entry("top/p", header.FIFO),
    )  # fmt: skip
    copy = Copy(_Session(), "box", Options(CP_FLAGS), quiet=True)  # type: ignore[arg-type]
    copy._unpack(iter([raw]), str(tmp_path), "top", "new")
    assert sorted(os.listdir(tmp_path / "new")) == ["f", "h", "l", "p"]
    assert (tmp_path / "new/f").stat().st_uid == os.geteuid()
    assert (tmp_path / "new/h").stat().st_nlink == 2
    copy._unpack(iter([raw]), str(tmp_path / "new"), "top", "")
    assert (tmp_path / "new/f").read_bytes() == b"1"
