"""The words of quotactl(2) on XFS."""

from __future__ import annotations

import struct

import pytest

from corten.linux import quota


@pytest.mark.parametrize(("size", "blocks"), [(0, 0), (1, 1), (512, 1), (513, 2), (10 << 30, 20971520)])
def test_limits_are_in_blocks_of_512_bytes(size: int, blocks: int) -> None:
    made = quota.encode_limit(4711, size)
    assert len(made) == 112
    version, flags, fields, number, hard, soft = struct.unpack_from("=bbHIQQ", made)
    assert (version, flags, fields, number) == (1, 2, 0b1100, 4711)
    assert hard == soft == blocks
    assert not any(made[24:])


def test_the_calls_have_their_numbers() -> None:
    """linux/quota.h and linux/dqblk_xfs.h, worked out by the C compiler."""
    assert (quota._SET_LIMIT, quota._GET_LIMIT, quota._GET_STATE) == (0x580402, 0x580302, 0x580502)
    assert quota._FSXATTR.size == 28
