"""Content digests: ``algorithm:hex``, checked before they may become part of a path or a URL (CVE-2024-3727).

Owns the syntax and the hashing of bytes already in memory. Knows nothing of files, registries or chains of layers
beyond the one formula the image spec gives for chain ids.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final, Self

from corten.errors import InvalidArgument

HEX_LENGTH: Final = {"sha256": 64, "sha384": 96, "sha512": 128}
_SHAPE: Final = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([0-9a-zA-Z_=-]+)\Z")
_LOWER_HEX: Final = re.compile(r"[0-9a-f]+\Z")


class Digest(str):
    """A digest that is known to be well formed; ``str()`` of it is the wire form.

    Raises:
        InvalidArgument: with the texts of opencontainers/go-digest (``invalid checksum digest format`` ...).
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        match = _SHAPE.match(text)
        if match is None:
            raise InvalidArgument("invalid checksum digest format")
        algorithm, encoded = match.groups()
        length = HEX_LENGTH.get(algorithm)
        if length is None:
            raise InvalidArgument("unsupported digest algorithm")
        if len(encoded) != length:
            raise InvalidArgument("invalid checksum digest length")
        if not _LOWER_HEX.match(encoded):
            raise InvalidArgument("invalid checksum digest format")
        return super().__new__(cls, text)

    @property
    def algorithm(self) -> str:
        """``sha256``, ``sha384`` or ``sha512``."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The encoded part: lower-case hexadecimal digits only, hence a safe file name."""
        return self.partition(":")[2]

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The sha256 digest of ``data``."""
        return cls(f"sha256:{hashlib.sha256(data).hexdigest()}")

    @classmethod
    def from_hex(cls, encoded: str) -> Self:
        """A sha256 digest from its 64 hexadecimal digits."""
        return cls(f"sha256:{encoded}")


def is_digest(text: str) -> bool:
    """Whether ``text`` is a well-formed digest."""
    try:
        Digest(text)
    except InvalidArgument:
        return False
    return True


def chain_id(parent: Digest | None, diff_id: Digest) -> Digest:
    """The chain id of a layer on ``parent`` (image-spec, config.md, "Layer ChainID")."""
    return diff_id if parent is None else Digest.of(f"{parent} {diff_id}".encode())


def chain_ids(diff_ids: Iterable[Digest]) -> list[Digest]:
    """The chain ids of a whole image, lowest layer first."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(chain_id(chain[-1] if chain else None, diff_id))
    return chain
