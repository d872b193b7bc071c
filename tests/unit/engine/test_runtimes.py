"""Which runtimes an engine knows, by flag, file, PATH and path; what only its own can give."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from corten.api.types.container import HostConfig
from corten.daemon import settings
from corten.engine.config import EngineConfig, RuntimeConfig
from corten.engine.runtimes import Runtimes
from corten.engine.spec import foreign
from corten.engine.spec.completion import complete_host
from corten.errors import InvalidArgument, NotSupported


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory of PATH, with a crun in it."""
    directory = tmp_path / "programs"
    directory.mkdir()
    add(directory, "crun")
    monkeypatch.setenv("PATH", str(directory))
    return directory


def add(directory: Path, name: str) -> Path:
    program = directory / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return program


def load(tmp_path: Path, *arguments: str, file: object = None) -> EngineConfig:
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps(file or {}))
    return settings.load(["--config-file", str(path), *arguments]).engine


def test_flag_and_file_name_runtimes_and_the_flag_wins(tmp_path: Path) -> None:
    file = {
        "runtimes": {
            "one": {"path": "/opt/one", "runtimeArgs": ["--debug", "--x=y"]},
            "two": {"path": "/opt/file"},
        },
        "default-runtime": "one",
    }
    config = load(tmp_path, "--add-runtime", "Two=/opt/flag", "--add-runtime=three=crun", file=file)
    assert config.runtimes == (
        RuntimeConfig("two", "/opt/flag"),
        RuntimeConfig("three", "crun"),
        RuntimeConfig("one", "/opt/one", ("--debug", "--x=y")),
    )
    assert Runtimes(config).default == "one"


@pytest.mark.parametrize(
    ("arguments", "file", "text"),
    [
        (["--add-runtime", "x"], None, "invalid runtime argument: x"),
        (["--add-runtime", "=x"], None, "invalid runtime argument: =x"),
        (["--add-runtime", "corten=/x"], None, "runtime name 'corten' is reserved"),
        (["--add-runtime", "a=/x", "--add-runtime", "A=/y"], None, "runtime 'a' was already defined"),
        (["--default-runtime", "nosuch"], None, "specified default runtime 'nosuch' does not exist"),
        ([], {"runtimes": {"a": {}}}, "runtime a: either a runtimeType or a path must be configured"),
        (
            [],
            {"runtimes": {"a": {"runtimeType": "io.containerd.kata.v2"}}},
            "runtimes.a.runtimeType has no meaning here",
        ),
        ([], {"runtimes": {"a": {"path": "/x", "runtimeArgs": "y"}}}, "invalid value of runtimes"),
        ([], {"runtimes": {"corten": {"path": "/x"}}}, "runtime name 'corten' is reserved"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, arguments: list[str], file: object, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        load(tmp_path, *arguments, file=file)
    assert text in str(caught.value)


def test_a_runtime_is_found_by_name_on_path_or_by_path(programs: Path) -> None:
    configured = RuntimeConfig("mine", "crun", ("--debug",))
    runtimes = Runtimes(EngineConfig(runtimes=(configured,)))
    assert runtimes.find("corten") is None
    assert runtimes.find("crun") == RuntimeConfig("crun", f"{programs}/crun")
    assert runtimes.find("mine") == RuntimeConfig("mine", f"{programs}/crun", ("--debug",))
    other = add(programs, "other")
    assert runtimes.find(str(other)) == RuntimeConfig(str(other), str(other))
    assert runtimes.state_directory(str(other)).startswith("/run/corten/runtime/")
    assert "/" not in os.path.relpath(runtimes.state_directory(str(other)), "/run/corten/runtime")
    assert runtimes.table() == {
        "corten": {"path": "corten-runtime"},
        "crun": {"path": f"{programs}/crun"},
        "mine": {"path": "crun", "runtimeArgs": ["--debug"]},
    }


@pytest.mark.parametrize("name", ["nosuch", "other", "runsc", "/nowhere", "./crun", "io.containerd.runc.v2"])
def test_an_unknown_runtime_is_refused_in_dockers_words(programs: Path, name: str) -> None:
    add(programs, "other")  # on PATH, but nobody knows it for a runtime
    with pytest.raises(InvalidArgument) as caught:
        Runtimes(EngineConfig()).check(name)
    assert str(caught.value) == f"unknown or invalid runtime name: {name}"


def test_what_is_gone_at_the_start_is_unknown_then(programs: Path) -> None:
    runtimes = Runtimes(EngineConfig())
    assert runtimes.check("crun") == []
    (programs / "crun").unlink()
    with pytest.raises(InvalidArgument, match="unknown or invalid runtime name: crun"):
        runtimes.find("crun")


def test_dockers_stock_runtime_is_our_own_where_there_is_no_runc(programs: Path) -> None:
    runtimes = Runtimes(EngineConfig())
    assert runtimes.check("runc") == ["There is no runc on this host: the container is run by corten."]
    assert runtimes.find("runc") is None
    add(programs, "runc")
    assert runtimes.check("runc") == []
    assert runtimes.find("runc") == RuntimeConfig("runc", f"{programs}/runc")


def test_a_container_keeps_the_default_of_its_creation() -> None:
    engine = EngineConfig(runtimes=(RuntimeConfig("mine", "/x"),), default_runtime="mine")
    assert complete_host(HostConfig(), engine).Runtime == "mine"
    assert complete_host(HostConfig(Runtime="crun"), engine).Runtime == "crun"
    assert complete_host(HostConfig(), EngineConfig()).Runtime == "corten"


def test_what_only_our_own_runtime_gives_is_refused_by_name() -> None:
    crun = RuntimeConfig("crun", "/usr/bin/crun")
    foreign.check(crun, user_namespace=False, wants_init=True, init="/usr/bin/catatonit")
    with pytest.raises(NotSupported, match="user namespaces are not supported with --runtime crun"):
        foreign.check(crun, user_namespace=True, wants_init=False, init="")
    with pytest.raises(NotSupported, match="--init is not supported with --runtime crun: this host has none of"):
        foreign.check(crun, user_namespace=False, wants_init=True, init="")


def test_the_document_gets_what_our_own_runtime_has_in_itself() -> None:
    shared: list[dict[str, object]] = [{"destination": "/proc"}]
    spec = {"ociVersion": "1.2.0", "process": {"args": ["a", "b"]}, "mounts": shared, "linux": {}}
    foreign.adapt(spec, seccomp={"defaultAction": "SCMP_ACT_ERRNO"}, init="/usr/bin/tini-static")
    assert spec["linux"] == {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO"}}
    assert spec["process"] == {"args": ["/sbin/docker-init", "--", "a", "b"]}
    assert spec["mounts"][-1]["source"] == "/usr/bin/tini-static"
    assert shared == [{"destination": "/proc"}]
    assert spec["ociVersion"].startswith("1.0.")
