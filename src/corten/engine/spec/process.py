"""The first process of a container and of an exec as OCI ``process`` documents; pure."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from corten.api.types.container import ContainerConfig, HostConfig
from corten.engine.config import EngineConfig
from corten.engine.spec import capabilities, defaults
from corten.engine.spec.resources import rlimits
from corten.engine.spec.security import parse_security

_PATH: Final = f"PATH={defaults.PATH}"


def environment(config: ContainerConfig, linked: Iterable[str], *, terminal: bool) -> list[str]:
    """PATH, HOSTNAME, TERM and the variables of --link, each unless ``config.Env`` sets it, then ``config.Env``; a
    bare ``NAME`` there removes one.
    """
    start = [_PATH, f"HOSTNAME={config.Hostname}"]
    if terminal:
        start.append("TERM=xterm")
    return overlay([*start, *linked], config.Env or ())


def overlay(start: Iterable[str], changes: Iterable[str]) -> list[str]:
    """``NAME=value`` entries where a later one replaces an earlier one in its place and a bare ``NAME`` removes it."""
    merged = {entry.partition("=")[0]: entry for entry in start}
    for entry in changes:
        name, equals, _ = entry.partition("=")
        if equals:
            merged[name] = entry
        else:
            merged.pop(name, None)
    return list(merged.values())


def user(name: str, groups: Sequence[str]) -> dict[str, Any]:
    """OCI ``process.user``: names are left to the container's own passwd and group files, which only the
    runtime's child reads.
    """
    document: dict[str, Any] = {"uid": 0, "gid": 0, "corten.user": name}
    if groups:
        document["corten.groups"] = list(groups)
    return document


def first_process(
    config: ContainerConfig, host: HostConfig, args: Sequence[str], linked: Iterable[str], engine: EngineConfig
) -> dict[str, Any]:
    """OCI ``process`` of a container."""
    terminal = config.Tty
    caps = capabilities.effective(host.CapAdd or (), host.CapDrop or (), privileged=host.Privileged)
    security = parse_security(host.SecurityOpt or (), no_new_privileges=engine.no_new_privileges)
    document: dict[str, Any] = {
        "terminal": terminal,
        "user": user(config.User, host.GroupAdd or ()),
        "args": list(args),
        "env": environment(config, linked, terminal=terminal),
        "cwd": config.WorkingDir or "/",
        "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
        "noNewPrivileges": security.no_new_privileges,
        "apparmorProfile": security.apparmor_profile,
        "oomScoreAdj": host.OomScoreAdj,
        "rlimits": rlimits(host.Ulimits, engine.default_ulimits),
    }
    size = host.ConsoleSize
    if terminal and any(size):
        document["consoleSize"] = {"height": size[0], "width": size[1]}
    return document
