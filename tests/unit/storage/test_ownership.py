"""Ids, file capabilities and ACLs of a container in a user namespace, both ways."""

from __future__ import annotations

import struct

import pytest

from corten.errors import CortenError
from corten.oci.idmap import IdMaps
from corten.storage.ownership import Ownership
from corten.tar import header
from corten.tar.header import Entry

OURS = Ownership(IdMaps([(0, 700000, 1000), (5000, 900000, 10)], [(0, 800000, 1000)]))
NAME = b"security.capability"
V2 = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
V3 = struct.pack("<6I", 0x03000001, 1 << 13, 0, 0, 0, 700000)


def entry(uid: int, gid: int, **xattrs: bytes) -> Entry:
    held = {key.replace("_", ".", 1).encode(): value for key, value in xattrs.items()}
    return Entry(b"f", header.REGULAR, uid=uid, gid=gid, xattrs=held or None)


@pytest.mark.parametrize(
    ("host", "container"),
    [((700000, 800000), (0, 0)), ((700999, 800999), (999, 999)), ((900009, 800001), (5009, 1))],
)
def test_ids_go_in_and_out(host: tuple[int, int], container: tuple[int, int]) -> None:
    one = entry(*host)
    OURS.leaving(one)
    assert (one.uid, one.gid) == container
    OURS.arriving(one)
    assert (one.uid, one.gid) == host


def test_what_has_no_id_inside() -> None:
    for host in ((0, 0), (699999, 799999), (701000, 801000), (900010, 5)):
        one = entry(*host)
        OURS.leaving(one)
        assert (one.uid, one.gid) == (65534, 65534)
    for container in ((1000, 0), (4999, 0), (5010, 0), (0, 1000), (65534, 0)):
        with pytest.raises(CortenError, match=r"Container ID \d+ cannot be mapped to a host ID"):
            OURS.arriving(entry(*container))


def test_file_capabilities_are_the_containers() -> None:
    one = entry(700000, 800000, security_capability=V3, user_note=b"kept")
    OURS.leaving(one)
    assert one.xattrs == {NAME: V2, b"user.note": b"kept"}
    OURS.arriving(one)
    assert one.xattrs == {NAME: V3, b"user.note": b"kept"}


def test_file_capabilities_of_the_host_do_not_come_out_as_the_containers() -> None:
    """Copied back in they would be in force there."""
    for value in (V2, V2[:7], V3 + b"\0", b""):
        one = entry(700000, 800000, security_capability=value)
        OURS.leaving(one)
        assert not one.xattrs
    other = entry(700000, 800000, security_capability=V3[:20] + struct.pack("<I", 900001))
    OURS.leaving(other)
    assert other.xattrs == {NAME: V3[:20] + struct.pack("<I", 5001)}


def test_acls_name_the_hosts_ids() -> None:
    acl = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *item) for item in ((1, 7, 0xFFFFFFFF), (2, 6, 5), (8, 4, 6), (0x10, 7, 0xFFFFFFFF))
    )
    one = entry(0, 0, system_posix_acl_access=acl)
    OURS.arriving(one)
    assert one.xattrs is not None
    made = [struct.unpack_from("<HHI", one.xattrs[b"system.posix_acl_access"], at) for at in (4, 12, 20, 28)]
    assert [item[2] for item in made] == [0xFFFFFFFF, 700005, 800006, 0xFFFFFFFF]
    strange = entry(0, 0, system_posix_acl_access=b"\2\0\0\0odd")
    OURS.arriving(strange)
    assert strange.xattrs == {b"system.posix_acl_access": b"\2\0\0\0odd"}
