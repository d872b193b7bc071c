"""``info``: facts about the engine and its host, laid out as Docker does."""

from __future__ import annotations

import sys

from corten.cli import units
from corten.cli.commands.system import client_version, render
from corten.cli.options import Flag
from corten.client.errors import Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from corten.cli.options import Options
    from corten.cli.session import Session

    Document = dict[str, Any]

INFO_FLAGS: Final = (Flag("format", "f", "string", "Format output: 'json' or a Go template"),)


def info(session: Session, given: Options, arguments: list[str]) -> int:
    """Print the facts; the client's alone, and a failure, when no engine answers."""
    client = client_version(session)
    failure: Unreachable | None = None
    document: Document = {}
    try:
        document = session.client.get("/info")
    except Unreachable as error:
        failure = error
    chosen = given.text("format")
    if chosen:
        whole = document | {"ClientInfo": {"Debug": False, **client, "Plugins": [], "Warnings": None}}
        if failure is not None:
            whole["ServerErrors"] = [str(failure)]
        sys.stdout.write(render(whole, chosen) + "\n")
        return 0
    print(f"Client:\n Version:    {client['Version']}\n Context:    {client['Context']}\n Debug Mode: false\n\nServer:")
    if failure is not None:
        session.complain(f"ERROR: {failure}")
        session.complain("errors pretty printing info")
        return 1
    sys.stdout.write("".join(f"{line}\n" for line in _lines(document)) + "\n")
    for warning in document.get("Warnings") or ():
        session.complain(warning)
    return 0


def _lines(facts: Document) -> Iterator[str]:
    yield f" Containers: {facts.get('Containers', 0)}"
    for name in ("Running", "Paused", "Stopped"):
        yield f"  {name}: {facts.get(f'Containers{name}', 0)}"
    yield f" Images: {facts.get('Images', 0)}"
    if facts.get("ServerVersion"):
        yield f" Server Version: {facts['ServerVersion']}"
    yield f" Storage Driver: {facts.get('Driver', '')}"
    for name, value in facts.get("DriverStatus") or ():
        yield f"  {name}: {value}"
    for key, title in (("LoggingDriver", "Logging Driver"), ("CgroupDriver", "Cgroup Driver"),
                       ("CgroupVersion", "Cgroup Version")):  # fmt: skip
        if facts.get(key):
            yield f" {title}: {facts[key]}"
    yield from _plugins(facts.get("Plugins") or {})
    yield f" Swarm: {(facts.get('Swarm') or {}).get('LocalNodeState', 'inactive')}"
    yield from _runtimes(facts)
    yield from _security(facts.get("SecurityOptions") or [])
    yield from _host(facts)
    yield from _proxies(facts)
    yield from _tail(facts)


def _plugins(plugins: Document) -> Iterator[str]:
    yield " Plugins:"
    yield f"  Volume: {' '.join(plugins.get('Volume') or ())}"
    yield f"  Network: {' '.join(plugins.get('Network') or ())}"
    if plugins.get("Authorization"):
        yield f"  Authorization: {' '.join(plugins['Authorization'])}"
    yield f"  Log: {' '.join(plugins.get('Log') or ())}"


def _runtimes(facts: Document) -> Iterator[str]:
    if facts.get("Runtimes"):
        yield f" Runtimes: {' '.join(sorted(facts['Runtimes']))}"
        yield f" Default Runtime: {facts.get('DefaultRuntime', '')}"
    if facts.get("InitBinary"):
        yield f" Init Binary: {facts['InitBinary']}"
    for key, title in (("ContainerdCommit", "containerd"), ("RuncCommit", "runc"), ("InitCommit", "init")):
        commit = (facts.get(key) or {}).get("ID")
        if commit:
            yield f" {title} version: {commit}"


def _security(options: list[str]) -> Iterator[str]:
    """``name=seccomp,profile=default`` as a name with its properties below it."""
    if not options:
        return
    yield " Security Options:"
    for option in options:
        pairs = [part.partition("=") for part in option.split(",")]
        for key, _, value in pairs:
            if key == "name":
                yield f"  {value}"
        for key, _, value in pairs:
            if key != "name":
                yield f"   {key[:1].upper() + key[1:]}: {value}"


def _host(facts: Document) -> Iterator[str]:
    for key, title in (
        ("KernelVersion", "Kernel Version"), ("OperatingSystem", "Operating System"), ("OSType", "OSType"),
        ("Architecture", "Architecture"),
    ):  # fmt: skip
        if facts.get(key):
            yield f" {title}: {facts[key]}"
    yield f" CPUs: {facts.get('NCPU', 0)}"
    yield f" Total Memory: {units.binary_size(facts.get('MemTotal') or 0)}"
    for key, title in (("Name", "Name"), ("ID", "ID")):
        if facts.get(key):
            yield f" {title}: {facts[key]}"
    yield f" Docker Root Dir: {facts.get('DockerRootDir', '')}"
    yield f" Debug Mode: {_bool(facts.get('Debug'))}"
    if facts.get("Debug"):
        yield f"  File Descriptors: {facts.get('NFd', 0)}"
        yield f"  Goroutines: {facts.get('NGoroutines', 0)}"
        yield f"  System Time: {facts.get('SystemTime', '')}"
        yield f"  EventsListeners: {facts.get('NEventsListener', 0)}"


def _proxies(facts: Document) -> Iterator[str]:
    for key, title in (("HttpProxy", "HTTP Proxy"), ("HttpsProxy", "HTTPS Proxy"), ("NoProxy", "No Proxy")):
        if facts.get(key):
            yield f" {title}: {facts[key]}"


def _tail(facts: Document) -> Iterator[str]:
    if facts.get("Labels"):
        yield " Labels:"
        yield from (f"  {label}" for label in facts["Labels"])
    yield f" Experimental: {_bool(facts.get('ExperimentalBuild'))}"
    registry = facts.get("RegistryConfig") or {}
    configs = registry.get("IndexConfigs") or {}
    insecure = [name for name, config in configs.items() if not config.get("Secure")]
    insecure += registry.get("InsecureRegistryCIDRs") or []
    if insecure:
        yield " Insecure Registries:"
        yield from (f"  {name}" for name in insecure)
    if registry.get("Mirrors"):
        yield " Registry Mirrors:"
        yield from (f"  {mirror}" for mirror in registry["Mirrors"])
    yield f" Live Restore Enabled: {_bool(facts.get('LiveRestoreEnabled'))}"
    if facts.get("DefaultAddressPools"):
        yield " Default Address Pools:"
        yield from (f"   Base: {pool['Base']}, Size: {pool['Size']}" for pool in facts["DefaultAddressPools"])


def _bool(value: object) -> str:
    return "true" if value else "false"
