"""Whose files are, where a container in a user namespace sees other ids than the host: both ways through a tar stream.

Archives carry the container's ids, as Docker's do with ``userns-remap``; the files, seen from the host, carry the
host's. What has no id inside is shown as the container sees it, and cannot be made. Pure but for :func:`Ownership.act`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from corten.errors import CortenError, InvalidArgument
from corten.linux import capability
from corten.oci.idmap import IdMaps
from corten.tar.header import Entry

_CAPABILITIES: Final = b"security.capability"
_ACLS: Final = (b"system.posix_acl_access", b"system.posix_acl_default")
# linux/capability.h: struct vfs_cap_data is 20 bytes, and 24 with the root it is meant for (revision 3).
_REVISION_2: Final = 0x02000000
_REVISION_3: Final = 0x03000000
_REVISIONS: Final = 0xFF000000
_CAP_SIZE: Final = 20
# linux/posix_acl_xattr.h: a version, then (tag, permissions, id) each; tags of named users and groups have an id.
_ACL_ENTRY: Final = struct.Struct("<HHI")
_ACL_USER: Final = 0x02
_ACL_GROUP: Final = 0x08


class Ownership:
    """The maps of one container's user namespace, applied to files."""

    def __init__(self, maps: IdMaps) -> None:
        self._maps = maps

    def uid(self, inside: int) -> int:
        """The host's id; CortenError with Docker's text when there is none."""
        return _mapped(self._maps.uid, inside)

    def gid(self, inside: int) -> int:
        """The same for a group."""
        return _mapped(self._maps.gid, inside)

    @contextmanager
    def act(self) -> Iterator[None]:
        """Inside, the calling thread makes files as the container's root: the host's has no id in its layers."""
        capability.make_files_as(self.uid(0), self.gid(0))
        try:
            yield
        finally:
            capability.make_files_as(0, 0)

    def leaving(self, entry: Entry) -> None:
        """Give an entry of the host's files the container's ids."""
        entry.uid, entry.gid = self._maps.shown_uid(entry.uid), self._maps.shown_gid(entry.gid)
        value = (entry.xattrs or {}).get(_CAPABILITIES)
        if entry.xattrs is None or value is None:
            return
        shown = self._capabilities_inside(value)
        entry.xattrs = {key: held for key, held in entry.xattrs.items() if key != _CAPABILITIES}
        if shown:
            entry.xattrs[_CAPABILITIES] = shown

    def arriving(self, entry: Entry) -> None:
        """Give an entry of an archive the host's ids. Raises CortenError: it has an id the container has not."""
        entry.uid, entry.gid = self.uid(entry.uid), self.gid(entry.gid)
        if entry.xattrs:
            entry.xattrs = {key: self._outside(key, value) for key, value in entry.xattrs.items()}

    def _capabilities_inside(self, value: bytes) -> bytes:
        """File capabilities as the container reads them; b"" for those that are not in force in it."""
        revision, root = _capabilities(value)
        if revision != _REVISION_3:  # the host's own
            return b""
        if self._maps.shown_uid(root) == 0:
            (magic,) = struct.unpack_from("<I", value)
            return struct.pack("<I", magic & ~_REVISIONS | _REVISION_2) + value[4:_CAP_SIZE]
        return value[:_CAP_SIZE] + struct.pack("<I", self._maps.shown_uid(root))

    def _outside(self, key: bytes, value: bytes) -> bytes:
        if key == _CAPABILITIES:
            revision, root = _capabilities(value)
            if revision not in (_REVISION_2, _REVISION_3):
                return value  # the kernel says what is wrong with it
            (magic,) = struct.unpack_from("<I", value)
            head = struct.pack("<I", magic & ~_REVISIONS | _REVISION_3)
            return head + value[4:_CAP_SIZE] + struct.pack("<I", self.uid(root))
        if key in _ACLS and len(value) % _ACL_ENTRY.size == 4:
            return value[:4] + b"".join(map(self._acl_entry, _ACL_ENTRY.iter_unpack(value[4:])))
        return value

    def _acl_entry(self, entry: tuple[int, int, int]) -> bytes:
        tag, permissions, number = entry
        if tag == _ACL_USER:
            number = self.uid(number)
        elif tag == _ACL_GROUP:
            number = self.gid(number)
        return _ACL_ENTRY.pack(tag, permissions, number)


def _capabilities(value: bytes) -> tuple[int, int]:
    """(revision, root) of a vfs_cap_data; revision 0 for what is none."""
    if len(value) not in (_CAP_SIZE, _CAP_SIZE + 4):
        return 0, 0
    revision = struct.unpack_from("<I", value)[0] & _REVISIONS
    if revision == _REVISION_3 and len(value) > _CAP_SIZE:
        return revision, struct.unpack_from("<I", value, _CAP_SIZE)[0]
    return (revision, 0) if revision == _REVISION_2 and len(value) == _CAP_SIZE else (0, 0)


def _mapped(outside: Callable[[int], int], inside: int) -> int:
    try:
        return outside(inside)
    except InvalidArgument:
        raise CortenError(f"Container ID {inside} cannot be mapped to a host ID") from None
