"""Connection tracking over nfnetlink: forgetting flows.

Owns the attributes of linux/netfilter/nfnetlink_conntrack.h that a filtered dump and a deletion need. Refuses to know
why a flow is to be forgotten.
"""

from __future__ import annotations

import errno
import socket
import struct

from corten.linux.netlink.message import (
    NLM_F_ACK,
    NLM_F_DUMP,
    Connection,
    Message,
    attribute,
    attributes,
    nested,
    u32,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

NFNL_SUBSYS_CTNETLINK: Final = 1
IPCTNL_MSG_CT_GET: Final = (NFNL_SUBSYS_CTNETLINK << 8) | 1
IPCTNL_MSG_CT_DELETE: Final = (NFNL_SUBSYS_CTNETLINK << 8) | 2
CTA_TUPLE_ORIG: Final = 1
CTA_TUPLE_REPLY: Final = 2
CTA_ID: Final = 12
CTA_FILTER: Final = 25
CTA_FILTER_REPLY_FLAGS: Final = 2
CTA_TUPLE_IP: Final = 1
CTA_TUPLE_PROTO: Final = 2
CTA_IP_V4_SRC: Final = 1
CTA_PROTO_NUM: Final = 1

# net/netfilter/nf_internals.h: which parts of the given tuple have to match.
CTA_FILTER_F_CTA_IP_SRC: Final = 1 << 0
CTA_FILTER_F_CTA_PROTO_NUM: Final = 1 << 3

_HEADER: Final = struct.pack("=BB", socket.AF_INET, 0) + struct.pack(">H", 0)


def forget(connection: Connection, protocol: int, *, answered_by: str) -> int:
    """Delete every IPv4 flow of ``protocol`` whose answers come from an address; returns how many there were.

    The kernel filters the dump (CTA_FILTER, since Linux 5.8); an older one ignores the filter, so the tuples are
    compared here as well. The kernel walks its whole table: 11 ms for the 262,144 buckets of a host with 4 GB.
    """
    source = socket.inet_aton(answered_by)
    found = [body for body in connection.dump(dump_request(protocol, source)) if _answers(body, protocol, source)]
    return sum(_delete(connection, body) for body in found)


def dump_request(protocol: int, source: bytes) -> Message:
    """A dump of the flows whose reply direction comes from ``source``."""
    reply = nested(
        CTA_TUPLE_REPLY,
        nested(CTA_TUPLE_IP, attribute(CTA_IP_V4_SRC, source)),
        nested(CTA_TUPLE_PROTO, attribute(CTA_PROTO_NUM, bytes((protocol,)))),
    )
    wanted = nested(CTA_FILTER, u32(CTA_FILTER_REPLY_FLAGS, CTA_FILTER_F_CTA_IP_SRC | CTA_FILTER_F_CTA_PROTO_NUM))
    return Message(IPCTNL_MSG_CT_GET, NLM_F_DUMP, _HEADER + reply + wanted, label="list flows")


def _answers(body: bytes, protocol: int, source: bytes) -> bool:
    tuples = dict(attributes(body[4:]))
    reply = dict(attributes(tuples.get(CTA_TUPLE_REPLY, b"")))
    address = dict(attributes(reply.get(CTA_TUPLE_IP, b""))).get(CTA_IP_V4_SRC)
    number = dict(attributes(reply.get(CTA_TUPLE_PROTO, b""))).get(CTA_PROTO_NUM)
    return address == source and number == bytes((protocol,))


def _delete(connection: Connection, body: bytes) -> int:
    flow = dict(attributes(body[4:]))
    message = _HEADER + nested(CTA_TUPLE_ORIG, flow[CTA_TUPLE_ORIG])
    if CTA_ID in flow:
        message += attribute(CTA_ID, flow[CTA_ID])
    try:
        connection.execute([Message(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, message, label="forget flow")])
    except OSError as error:
        if error.errno == errno.ENOENT:  # it timed out by itself
            return 0
        raise
    return 1
