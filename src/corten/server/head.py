"""One request head: bytes up to the empty line in, a checked value out; pure.

Owns what a head may look like: size, versions, and how a body's length may be told. Two lengths, or a length beside an
encoding, are refused instead of chosen between (RFC 9112, 6.1 and 6.3: request smuggling). Refuses to know routes.
"""

from typing import Final, NamedTuple

import httptools

#: Bytes of a whole head; Go's server allows a megabyte, no client of ours needs a tenth.
MAX_HEAD: Final = 65536
END: Final = b"\r\n\r\n"


class HeadError(Exception):
    """A head that cannot be answered sensibly; ``status`` says how, and the connection ends."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Head(NamedTuple):
    """What a request says of itself. Header names are lower case; ``length`` is None for a chunked body."""

    method: str
    target: str
    headers: dict[str, str]
    http_1_0: bool
    keep_alive: bool
    length: int | None

    @property
    def upgrade(self) -> str:
        """The protocol asked for (``tcp``, ``h2c``), lower case; empty when none is."""
        if "upgrade" not in {token.strip().lower() for token in self.headers.get("connection", "").split(",")}:
            return ""
        return self.headers.get("upgrade", "").strip().lower()

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for ``100 Continue`` before it sends the body."""
        return not self.http_1_0 and self.headers.get("expect", "").lower() == "100-continue"


class _Collector:
    """Callbacks of the parser."""

    __slots__ = ("complete", "headers", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True


def parse(raw: bytes) -> Head:
    """``raw`` is a head with its closing empty line and nothing after it.

    Raises:
        HeadError: it is not a request head of HTTP/1.x, or ambiguous about its body.
    """
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as exc:
        raise HeadError(400, f"malformed request: {str(exc) or 'not HTTP'}") from None
    if not collector.complete:
        raise HeadError(400, "malformed request: incomplete head")
    version = parser.get_http_version()
    if version not in ("1.0", "1.1"):
        raise HeadError(505, f"HTTP version {version} is not supported")
    headers = _headers(collector.headers)
    target = _text(collector.target)
    if not target.startswith("/") and target != "*":
        raise HeadError(400, "malformed request: the target must be a path")
    return Head(
        method=parser.get_method().decode("ascii"),
        target=target,
        headers=headers,
        http_1_0=version == "1.0",
        keep_alive=_keeps_alive(version, headers),
        length=_length(collector.headers),
    )


def _headers(found: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """One text per name; repeated ones are joined by a comma (RFC 9110, 5.3)."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in found:
        name, value = _text(raw_name).lower(), _text(raw_value).strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")


def _keeps_alive(version: str, headers: dict[str, str]) -> bool:
    """By our own reading: the parser says no for every upgrade request, and ours may be answered without one."""
    tokens = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    return "close" not in tokens and (version == "1.1" or "keep-alive" in tokens)


def _length(found: list[tuple[bytes, bytes]]) -> int | None:
    """The body's length; None when it is chunked, 0 when there is none."""
    lengths = [value for name, value in found if name.lower() == b"content-length"]
    encodings = [value for name, value in found if name.lower() == b"transfer-encoding"]
    if len(lengths) > 1 or len(encodings) > 1 or (lengths and encodings):
        raise HeadError(400, "malformed request: the length of the body is given twice")
    if encodings:
        if encodings[0].strip().lower() != b"chunked":
            raise HeadError(501, "unsupported Transfer-Encoding: only chunked is understood")
        return None
    if not lengths:
        return 0
    text = lengths[0].strip()
    if not text.isdigit() or len(text) > 18:
        raise HeadError(400, "malformed request: Content-Length is not a number")
    return int(text)
