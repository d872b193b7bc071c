"""The device allow list of a whole container, on whichever cgroup version this host has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corten.cgroup import hierarchy
from corten.cgroup.group import Group
from tests.kernel.conftest import Bundle

pytestmark = pytest.mark.root
READ = "dd if=%s of=/dev/null bs=512 count=1 2>&1"
WRITE = "(: > %s) 2>&1"


@pytest.fixture
def disk(tmp_path: Path) -> tuple[int, int]:
    """Numbers of a disk of this host that its root can read: what the container must not."""
    known = [line.split()[:2] for line in Path("/proc/partitions").read_text().splitlines()[2:]]
    for numbers in (*known, (7, 0)):  # loop0 opens without a file behind it
        major, minor = int(numbers[0]), int(numbers[1])
        node = tmp_path / f"disk-{major}-{minor}"
        os.mknod(node, 0o600 | 0o060000, os.makedev(major, minor))
        try:
            os.close(os.open(node, os.O_RDONLY))
        except OSError:
            continue
        return major, minor
    pytest.fail("no block device of this host can be opened even by its root: nothing can be shown here")


def test_a_container_cannot_open_a_disk_it_makes_a_node_for(bundle: Bundle, disk: tuple[int, int]) -> None:
    script = "mknod /disk b %d %d && echo made; %s; %s; ls -l /disk | cut -c1" % (
        *disk,
        READ % "/disk",
        WRITE % "/disk",
    )
    output = bundle.shell(script)
    assert output.stdout.splitlines()[0] == "made", "CAP_MKNOD is Docker's default; the list is what protects the host"
    assert output.stdout.count("Operation not permitted") == 2, output.stdout
    assert output.stdout.splitlines()[-1] == "b"


def test_a_container_cannot_open_a_disk_its_image_brings(bundle: Bundle, disk: tuple[int, int]) -> None:
    os.mknod(bundle.rootfs / "disk", 0o666 | 0o060000, os.makedev(*disk))
    output = bundle.shell(READ % "/disk")
    assert "Operation not permitted" in output.stdout
    assert output.returncode != 0


def test_nor_can_an_exec_in_it(bundle: Bundle, disk: tuple[int, int]) -> None:
    identifier = bundle.start()
    output = bundle.exec(identifier, "sh", "-c", "mknod /disk b %d %d; %s" % (*disk, READ % "/disk"))
    assert "Operation not permitted" in output.stdout


def test_a_rule_opens_what_it_names_and_nothing_else(bundle: Bundle, disk: tuple[int, int]) -> None:
    """Shows too that the tests above fail when the list is not in force."""
    rule = {"allow": True, "type": "b", "major": disk[0], "minor": disk[1], "access": "r"}
    bundle.linux["resources"]["devices"] = [{"allow": False, "access": "rwm"}, rule]
    script = "mknod /disk b %d %d; %s; %s" % (*disk, READ % "/disk", WRITE % "/disk")
    output = bundle.shell(script)
    assert "records in" in output.stdout
    assert output.stdout.count("Operation not permitted") == 1


def test_character_devices_beyond_the_list_are_refused(bundle: Bundle) -> None:
    """/dev/kmsg (1:11) and /dev/mem (1:1) as nodes of the container's own making."""
    script = "mknod /kmsg c 1 11; mknod /mem c 1 1; head -c1 /kmsg; head -c1 /mem; head -c1 /dev/zero | wc -c"
    output = bundle.shell(script)
    assert output.stderr.count("Operation not permitted") == 2
    assert output.stdout.strip() == "1"


@pytest.mark.skipif(hierarchy.detect().version == 1, reason="needs cgroup v2")
def test_the_program_stays_after_its_maker_and_joins_what_is_below(bundle: Bundle, disk: tuple[int, int]) -> None:
    """A group the container makes in itself (as an engine inside would) is under the list as well."""
    identifier = bundle.start()
    below = Group(hierarchy.detect(), f"{bundle.parent}/{identifier}/below")
    Path(below.directory("")).mkdir()
    pid = bundle.state(identifier)["pid"]
    try:
        Path(below.directory(""), "cgroup.procs").write_text(str(pid))
        output = bundle.call("exec", "--cgroup", "below", identifier, "sh", "-c",
                             "mknod /disk b %d %d; %s" % (*disk, READ % "/disk"))  # fmt: skip
        assert "Operation not permitted" in output.stdout, output.stderr
    finally:
        bundle.call("kill", identifier, "KILL")
