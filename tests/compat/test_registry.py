"""``pull`` and ``push`` with a real registry: what the command lines say, and which tags they mean."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.compat.conftest import Client
from tests.harness.registry import RegistryProcess

pytestmark = pytest.mark.root

HOST = "127.0.0.1:5000"


@pytest.fixture(scope="module", autouse=True)
def registry() -> Iterator[None]:
    with RegistryProcess.running():
        yield


def tags(cli: Client, repository: str) -> list[str]:
    return sorted(cli.out("images", "--format", "{{.Tag}}", repository).split())


def test_all_tags(cli: Client) -> None:
    name = f"{HOST}/{cli.kind}/all"
    for tag in ("one", "two"):
        cli("tag", "busybox", f"{name}:{tag}")
    assert cli.out("push", "-a", "-q", name) == name
    cli("rmi", f"{name}:one", f"{name}:two")
    shown = cli.out("pull", "--all-tags", name).splitlines()
    assert shown[-1] == name
    assert sum(line.startswith("Digest: sha256:") for line in shown) == 2
    assert "Using default tag: latest" not in shown
    assert tags(cli, name) == ["one", "two"]
    for verb in ("pull", "push"):
        assert "tag can't be used with --all-tags/-a" in cli.err(verb, "-a", f"{name}:one")
    cli("rmi", f"{name}:one", f"{name}:two")
    assert cli.out("pull", "-q", f"{name}:two") == f"{name}:two"
    assert tags(cli, name) == ["two"]
    cli("rmi", f"{name}:two")


def test_a_repository_without_tags(cli: Client) -> None:
    name = f"{HOST}/{cli.kind}/nothing"
    assert "does not exist" in cli.err("push", "-a", name)
    assert "not found" in cli.err("pull", "-a", name)
