"""The table of operations."""

import pytest

from corten.server.errors import PageNotFoundError
from corten.server.router import Router, split_version
from corten.server.routes import ROUTES

ROUTER = Router(ROUTES)


@pytest.mark.parametrize(
    ("method", "path", "pattern", "name"),
    [
        ("GET", "/_ping", "/_ping", None),
        ("HEAD", "/_ping", "/_ping", None),
        ("GET", "/v1.24/containers/json", "/containers/json", None),
        ("GET", "/containers/abc/json", "/containers/{name}/json", "abc"),
        ("GET", "/images/json", "/images/json", None),
        ("GET", "/images/library/busybox:1/json", "/images/{name}/json", "library/busybox:1"),
        ("GET", "/images/host%3A5000%2Fa%2Fb/json", "/images/{name}/json", "host:5000/a/b"),
        ("GET", "/images/get", "/images/get", None),
        ("GET", "/images/a/b/get", "/images/{name}/get", "a/b"),
        ("DELETE", "/images/a/b@sha256:0", "/images/{name}", "a/b@sha256:0"),
        ("DELETE", "/containers/x", "/containers/{name}", "x"),
        ("DELETE", "/containers/x/checkpoints/y", "/containers/{name}/checkpoints/{checkpoint}", "x"),
        ("GET", "/services/x/logs", "/services/{name}/logs", "x"),
        ("GET", "/services/x", "/services/{name}", "x"),
    ],
)
def test_paths_find_their_operation(method, path, pattern, name):
    match = ROUTER.find(method, path)
    assert match.route.pattern == pattern
    assert match.parameters.get("name") == name


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/nothing"), ("POST", "/_ping"), ("PATCH", "/containers/json"), ("GET", "/containers//json"),
     ("GET", "/v1.40"), ("GET", "/vx/info"), ("GET", "/v1.40/v1.40/info"), ("GET", "*"), ("HEAD", "/info")],
)  # fmt: skip
def test_the_rest_is_not_found(method, path):
    with pytest.raises(PageNotFoundError, match=r"^page not found$"):
        ROUTER.find(method, path)


def test_the_version_prefix_is_optional():
    assert split_version("/v1.47/info") == ("1.47", "/info")
    assert split_version("/info") == (None, "/info")
    assert split_version("/version") == (None, "/version")


def test_every_operation_of_the_reference_is_answered():
    """The Engine API reference has 108 operations; HEAD /_ping and the extras beside it are ours to count too."""
    operations = {(route.method, route.pattern) for route in ROUTES}
    assert len(operations) == len(ROUTES), "an operation is there twice"
    extras = {
        ("POST", "/grpc"), ("POST", "/build/cancel"), ("GET", "/containers/{name}/checkpoints"),
        ("POST", "/containers/{name}/checkpoints"), ("DELETE", "/containers/{name}/checkpoints/{checkpoint}"),
    }  # fmt: skip
    assert extras <= operations
    assert len(operations - extras) == 108
