"""``search``: a registry that speaks version 1 of the protocol, on loopback, as both engines ask it."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.compat.conftest import Client

pytestmark = pytest.mark.root

RESULTS = [
    {"name": "a/b", "description": "first\nsecond " + "x" * 60, "star_count": 5, "is_official": False, "other": 1},
    {"name": "off", "description": "", "star_count": 100, "is_official": True, "is_automated": False},
    {"name": "none", "description": None, "star_count": 0},
]


class Handler(http.server.BaseHTTPRequestHandler):
    asked: list[dict[str, list[str]]]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        body, status = json.dumps({"num_results": 3, "results": RESULTS}).encode(), 200
        if url.path == "/v1/search":
            self.asked.append(query)
            word = query["q"][0]
            status = int(word) if word.isdecimal() else 200
            body = b"no json" if word == "nojson" else body
        self.send_response(status if url.path == "/v1/search" else 404)  # a registry without a ping is one, too
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


@pytest.fixture
def registry() -> Iterator[tuple[str, list[dict[str, list[str]]]]]:
    """Where it listens, and the searches it was asked for."""
    asked: list[dict[str, list[str]]] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Of", (Handler,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


Registry = tuple[str, list[dict[str, list[str]]]]


def test_what_is_asked_and_shown(cli: Client, registry: Registry) -> None:
    host, asked = registry
    rows = cli.out("search", f"{host}/some/thing").splitlines()
    assert [row.split() for row in (rows[0], *rows[2:])] == [
        ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"], ["off", "100", "[OK]"], ["none", "0"],
    ]  # fmt: skip
    assert "first second xxxx" in rows[1]
    assert "x…" in rows[1]
    assert "x" * 60 in cli.out("search", "--no-trunc", "--limit", "7", f"{host}/a b&n=1")
    assert asked == [{"q": ["some/thing"], "n": ["25"]}, {"q": ["a b&n=1"], "n": ["7"]}]
    line = cli.out("search", "--format", "{{.Name}} {{.StarCount}} {{.IsOfficial}}", f"{host}/x").splitlines()[1]
    assert line == "off 100 [OK]"
    assert '"IsOfficial":"true"' in cli.out("search", "--format", "json", f"{host}/x")


def test_filters(cli: Client, registry: Registry) -> None:
    def names(*flags: str) -> list[str]:
        return cli.out("search", "--format", "{{.Name}}", *flags, f"{registry[0]}/x").split()

    assert names("-f", "is-official=true") == ["off"]
    assert names("-f", "is-official=false") == ["a/b", "none"]
    assert names("-f", "stars=5") == ["a/b", "off"]
    assert names("-f", "stars=5", "-f", "stars=6") == ["off"]
    assert names("-f", "is-automated=true") == []
    assert names("-f", "is-automated=false") == ["a/b", "off", "none"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--limit", "101", "{host}/x"], "imit 101 is outside the range of [1, 100]"),
        (["-f", "is-official=maybe", "{host}/x"], "nvalid filter 'is-official=[maybe]'"),
        (["-f", "stars=x", "{host}/x"], "nvalid filter 'stars=x'"),
        (["-f", "nosuch=x", "{host}/x"], "nvalid filter 'nosuch'"),
        (["http://{host}/x"], 'nvalid repository name (ex: "registry.domain.tld/myrepos")'),
        (["{host}/500"], "Unexpected status code 500"),
        (["{host}/401"], "Unexpected status code 401"),
        (["{host}/nojson"], "error decoding registry search results: "),
        (["127.0.0.1:1/x"], 'invalid registry endpoint "http://127.0.0.1:1/v1/". HTTPS attempt: '),
        (["nosuch.test/x"], "invalid registry endpoint https://nosuch.test/v1/: "),
        (["word"], 'Get "https://index.docker.io/v1/search'),
    ],
)
def test_refusals(cli: Client, registry: Registry, words: list[str], text: str) -> None:
    assert text in cli.err("search", *[word.format(host=registry[0]) for word in words])
