"""Image references as Docker reads and prints them: ``[domain/]path[:tag][@digest]``.

The grammar and the normalisation are those of github.com/distribution/reference; error texts are Docker's, because
clients and people look for them. Knows nothing of which images exist.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from corten.errors import InvalidArgument
from corten.oci.digest import Digest, is_digest

DEFAULT_DOMAIN: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
_LEGACY_DOMAIN: Final = "index.docker.io"
_OFFICIAL: Final = "library/"
_MAX_PATH: Final = 255

_DOMAIN: Final = (
    r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*"
    r"|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
)
_COMPONENT: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH: Final = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG: Final = r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}"
_DIGEST: Final = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE: Final = re.compile(rf"({_DOMAIN})/({_PATH})(?::({_TAG}))?(?:@({_DIGEST}))?\Z")
_TAG_ONLY: Final = re.compile(rf"{_TAG}\Z")
_IDENTIFIER: Final = re.compile(r"[a-f0-9]{64}\Z")

INVALID_FORMAT: Final = "invalid reference format"


@dataclass(frozen=True, slots=True)
class Reference:
    """A normalised reference; ``tag`` and ``digest`` are absent when the text had none."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read what a user typed: ``debian`` is ``docker.io/library/debian``, without a tag being added.

        Raises:
            InvalidArgument: with Docker's text.
        """
        if _IDENTIFIER.match(text):
            raise InvalidArgument(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
        domain, remainder = _split_domain(text)
        remote = remainder.split("@")[0].split(":")[0] if ":" in remainder else remainder.split("@")[0]
        if remote != remote.lower():
            raise InvalidArgument(f"{INVALID_FORMAT}: repository name ({remote}) must be lowercase")
        match = _REFERENCE.match(f"{domain}/{remainder}")
        if match is None:
            raise InvalidArgument(INVALID_FORMAT)
        if len(match[2]) > _MAX_PATH:
            raise InvalidArgument(f"repository name must not be more than {_MAX_PATH} characters")
        return cls(match[1], match[2], match[3], Digest(match[4]) if match[4] else None)

    @property
    def name(self) -> str:
        """``domain/path``."""
        return f"{self.domain}/{self.path}"

    def with_default_tag(self) -> Reference:
        """This reference, tagged ``latest`` when it has neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        """The same repository with ``tag`` and no digest."""
        return replace(self, tag=check_tag(tag), digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """The same repository with ``digest`` and no tag."""
        return replace(self, tag=None, digest=digest)

    def bare(self) -> Reference:
        """The repository alone."""
        return replace(self, tag=None, digest=None)

    def familiar_name(self) -> str:
        """The repository as Docker prints it: without the default domain and ``library/``."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        rest = self.path.removeprefix(_OFFICIAL)
        return rest if "/" not in rest else self.path

    def familiar(self) -> str:
        """The whole reference as Docker prints it."""
        return self.familiar_name() + self._suffix()

    def __str__(self) -> str:
        return self.name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_any(text: str) -> Reference | Digest:
    """As :meth:`Reference.parse`, but a whole image id (64 digits, or a digest) is a :class:`Digest`."""
    if _IDENTIFIER.match(text):
        return Digest.from_hex(text)
    return Digest(text) if is_digest(text) else Reference.parse(text)


def check_tag(tag: str) -> str:
    """``tag`` itself.

    Raises:
        InvalidArgument: ``invalid tag format``.
    """
    if not _TAG_ONLY.match(tag):
        raise InvalidArgument("invalid tag format")
    return tag


def _split_domain(text: str) -> tuple[str, str]:
    """A first component is a domain when it is localhost, has a dot, a colon or an upper-case letter."""
    first, slash, rest = text.partition("/")
    if not slash:
        return DEFAULT_DOMAIN, _OFFICIAL + text
    if first == "localhost" or "." in first or ":" in first or first != first.lower():
        domain, remainder = first, rest
    else:
        domain, remainder = DEFAULT_DOMAIN, text
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = _OFFICIAL + remainder
    return domain, remainder
