"""Seccomp programs ready to hand over: one per profile and set of capabilities, compiled once.

Owns the choice between Docker's default profile, a client's own and none. The default profile, the compiler and the
files below ``<data-root>/seccomp`` are :mod:`corten.runtime.seccomp`'s.
"""

import asyncio
import json
import os
from typing import Any, Final

from corten.api.types.container import HostConfig
from corten.engine.config import EngineConfig
from corten.engine.spec import capabilities
from corten.engine.spec.security import parse_security
from corten.errors import InvalidArgument
from corten.runtime import seccomp

UNCONFINED: Final = "unconfined"


class Profiles:
    """Compiled programs by profile, each held open as a memory file."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._directory = f"{config.data_root}/seccomp"
        self._descriptors: dict[tuple[str, tuple[str, ...]], int] = {}
        self._compiling = asyncio.Lock()

    async def document(self, host: HostConfig) -> dict[str, Any] | None:
        """OCI ``linux.seccomp`` for a runtime that compiles it itself; None when the container is unconfined.

        Raises:
            InvalidArgument: a client's profile cannot be decoded.
        """
        profile = self._chosen(host)
        if profile == UNCONFINED:
            return None
        return await asyncio.to_thread(_decoded, profile, _capabilities(host))

    async def descriptor(self, host: HostConfig) -> int | None:
        """A descriptor of the program, which stays this object's; None when the container is unconfined.

        Raises:
            InvalidArgument: a client's profile cannot be decoded or compiled.
        """
        profile = self._chosen(host)
        if profile == UNCONFINED:
            return None
        caps = _capabilities(host)
        found = self._descriptors.get((profile, caps))
        if found is None:
            async with self._compiling:
                found = self._descriptors.get((profile, caps))
                if found is None:
                    found = await asyncio.to_thread(self._make, profile, caps)
                    self._descriptors[profile, caps] = found
        return found

    def close(self) -> None:
        """Close every descriptor."""
        descriptors, self._descriptors = self._descriptors, {}
        for fd in descriptors.values():
            os.close(fd)

    def _chosen(self, host: HostConfig) -> str:
        """What the client wants, else none for a privileged container, else the engine's own, else the default
        (empty).
        """
        wanted = parse_security(host.SecurityOpt or (), no_new_privileges=False).seccomp
        return wanted or (UNCONFINED if host.Privileged else self._config.seccomp_profile)

    def _make(self, profile: str, caps: tuple[str, ...]) -> int:
        try:
            program = seccomp.cached(_decoded(profile, caps), self._directory)
        except ValueError as exc:
            raise InvalidArgument(f"loading seccomp profile failed: {exc}") from exc
        fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        os.write(fd, program)
        return fd


def _capabilities(host: HostConfig) -> tuple[str, ...]:
    return capabilities.effective(host.CapAdd or (), host.CapDrop or (), privileged=host.Privileged)


def _decoded(profile: str, caps: tuple[str, ...]) -> dict[str, Any]:
    return decode(profile, caps) if profile else seccomp.default_profile(caps)


def decode(text: str, caps: tuple[str, ...]) -> dict[str, Any]:
    """A profile file's JSON, Docker's form or OCI's, as OCI ``linux.seccomp``; pure.

    Docker's form adds ``archMap`` and per-rule ``includes``/``excludes`` (capabilities, architectures, kernel
    versions).

    Raises:
        InvalidArgument: ``Decoding seccomp profile failed: ...``
    """
    try:
        document = json.loads(text)
    except ValueError as exc:
        raise InvalidArgument(f"Decoding seccomp profile failed: {exc}") from exc
    if not isinstance(document, dict) or "defaultAction" not in document:
        raise InvalidArgument("Decoding seccomp profile failed: it has no defaultAction")
    if document.get("architectures") and document.get("archMap"):
        raise InvalidArgument(
            "'architectures' and 'archMap' were specified in the seccomp profile, use either one or the other"
        )
    rules = [_rule(rule) for rule in document.get("syscalls") or [] if _applies(rule, caps)]
    result = {
        key: document[key] for key in ("defaultAction", "defaultErrnoRet", "flags") if document.get(key) is not None
    }
    result["syscalls"] = rules
    result["architectures"] = document.get("architectures") or _architectures(document.get("archMap") or [])
    return result


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    kept = {key: rule[key] for key in ("action", "errnoRet", "args") if rule.get(key) is not None}
    kept["names"] = rule.get("names") or [rule["name"]]
    return kept


def _applies(rule: dict[str, Any], caps: tuple[str, ...]) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    machine = _docker_architecture()
    if includes.get("arches") and machine not in includes["arches"]:
        return False
    if machine in (excludes.get("arches") or ()) or any(cap in caps for cap in excludes.get("caps") or ()):
        return False
    if includes.get("minKernel") and _kernel() < _version(includes["minKernel"]):
        return False
    return all(cap in caps for cap in includes.get("caps") or ())


def _architectures(table: list[dict[str, Any]]) -> list[str]:
    native = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}.get(_docker_architecture(), "")
    found = [entry for entry in table if entry.get("architecture") == native]
    return [native, *(found[0].get("subArchitectures") or ())] if found else []


def _docker_architecture() -> str:
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _kernel() -> tuple[int, int]:
    return _version(os.uname().release)


def _version(text: str) -> tuple[int, int]:
    major, _, rest = text.partition(".")
    minor = "".join(character for character in rest.partition(".")[0] if character.isdigit())
    return int(major), int(minor or 0)
