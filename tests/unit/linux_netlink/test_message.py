import errno
import struct

import pytest

from corten.linux.netlink import conntrack, nftables, route
from corten.linux.netlink.message import (
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    Message,
    attribute,
    attributes,
    error_of,
    frames,
    nested,
    text,
    u32,
)


@pytest.mark.parametrize("size", range(9))
def test_attributes_are_padded_and_come_back(size: int) -> None:
    packed = attribute(5, b"x" * size) + u32(6, 7)
    assert len(packed) % 4 == 0
    assert list(attributes(packed)) == [(5, b"x" * size), (6, struct.pack("=I", 7))]


def test_nested_attributes_carry_their_flag() -> None:
    packed = nested(1, text(2, "abc"))
    assert struct.unpack_from("=HH", packed) == (12, 0x8001)
    ((kind, inner),) = attributes(packed)
    assert kind == 1
    assert list(attributes(inner)) == [(2, b"abc\0")]


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x03\0\x01\0", b"\xff\0\x01\0abcd"])
def test_truncated_attributes_end_the_walk(data: bytes) -> None:
    assert list(attributes(data)) == []


def test_frames_of_one_datagram() -> None:
    first, second = Message(16, 0, b"abc", label="a"), Message(17, 4, b"", label="b")
    data = first.encode(1) + b"\0" + second.encode(2)
    assert list(frames(data)) == [(16, 1, 1, b"abc"), (17, 5, 2, b"")]
    assert list(frames(data[:-1])) == [(16, 1, 1, b"abc")]


def test_errors_carry_the_kernels_words() -> None:
    assert error_of("x", 0, struct.pack("=i", 0)) is None
    body = struct.pack("=i", -errno.EEXIST) + bytes(16) + text(1, "File is there")
    error = error_of("create veth a", NLM_F_ACK_TLVS | NLM_F_CAPPED, body)
    assert error is not None
    assert error.errno == errno.EEXIST
    assert error.strerror == "create veth a: File exists: File is there"


def test_veth_message_gives_both_indexes_and_the_namespace() -> None:
    message = route.create_veth(
        "ct1", 100, master=7, mtu=1400, peer="eth0", peer_index=101, peer_mac="02:42:ac:11:00:02", netns=9
    )
    assert struct.unpack_from("=BxHiII", message.body)[2] == 100
    outer = dict(attributes(message.body[16:]))
    assert outer[route.IFLA_IFNAME] == b"ct1\0"
    assert outer[route.IFLA_MASTER] == struct.pack("=I", 7)
    info = dict(attributes(outer[route.IFLA_LINKINFO]))
    assert info[route.IFLA_INFO_KIND] == b"veth"
    peer = dict(attributes(info[route.IFLA_INFO_DATA]))[route.VETH_INFO_PEER]
    assert struct.unpack_from("=BxHiII", peer)[2] == 101
    inner = dict(attributes(peer[16:]))
    assert inner[route.IFLA_ADDRESS].hex(":") == "02:42:ac:11:00:02"
    assert inner[route.IFLA_NET_NS_FD] == struct.pack("=I", 9)


def test_address_message_has_its_broadcast_address() -> None:
    body = route.add_address(3, "172.17.0.2", 16).body
    assert dict(attributes(body[8:]))[route.IFA_BROADCAST] == bytes((172, 17, 255, 255))


def test_nftables_batch_is_framed_and_cut() -> None:
    elements = [
        nftables.Element("published", n.to_bytes(8, "big"), b"12345678")
        for n in range(nftables.ELEMENTS_PER_MESSAGE + 1)
    ]
    elements.append(nftables.Element("other", b"key4", b""))
    messages = nftables.batch(nftables.NFT_MSG_NEWSETELEM, 0, "corten", elements)
    assert [m.kind for m in messages] == [16, *[nftables.NFT_MSG_NEWSETELEM] * 3, 17]
    assert all(len(m.body) < 65536 for m in messages)
    names = [dict(attributes(m.body[4:]))[nftables.NFTA_SET_ELEM_LIST_SET] for m in messages[1:-1]]
    assert names == [b"published\0", b"published\0", b"other\0"]


def test_conntrack_dump_asks_the_kernel_to_filter() -> None:
    request = conntrack.dump_request(17, bytes((172, 17, 0, 2)))
    found = dict(attributes(request.body[4:]))
    flags = dict(attributes(found[conntrack.CTA_FILTER]))[conntrack.CTA_FILTER_REPLY_FLAGS]
    assert struct.unpack("=I", flags) == (conntrack.CTA_FILTER_F_CTA_IP_SRC | conntrack.CTA_FILTER_F_CTA_PROTO_NUM,)
