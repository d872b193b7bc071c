"""The OCI runtime document (config.json, runtime-spec 1.0 to 1.2).

A spec stays the plain document it is: this module names what this engine refuses in one. It does no I/O and knows no
kernel.
"""

from __future__ import annotations

from corten.errors import InvalidArgument, NotSupported
from corten.oci.document import decode as decode
from corten.oci.document import encode as encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

VERSION: Final = "1.2.0"

NAMESPACES: Final = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")


def namespaces(spec: dict[str, Any]) -> dict[str, str]:
    """``linux.namespaces`` as type -> path ("" for a new one). A type named twice is an error."""
    found: dict[str, str] = {}
    for entry in (spec.get("linux") or {}).get("namespaces") or []:
        kind = entry.get("type")
        if kind not in NAMESPACES:
            raise InvalidArgument(f"linux.namespaces: unknown type {kind!r}")
        if kind in found:
            raise InvalidArgument(f"linux.namespaces: malformed spec file: duplicated ns {kind}")
        found[kind] = entry.get("path") or ""
    return found


def validate(spec: dict[str, Any]) -> None:
    """Refuse what would otherwise be silently ignored, naming the field."""
    if not isinstance(spec, dict):
        raise InvalidArgument("config.json: the document must be an object")
    kinds = namespaces(spec)
    linux = spec.get("linux") or {}
    if "user" in kinds or linux.get("uidMappings") or linux.get("gidMappings"):
        raise NotSupported("linux.namespaces: user namespaces are not supported yet")
    if "time" in kinds or linux.get("timeOffsets"):
        raise NotSupported("linux.namespaces: time namespaces are not supported yet")
    if linux.get("intelRdt"):
        raise NotSupported("linux.intelRdt is not supported")
    if "mount" not in kinds:
        raise NotSupported("linux.namespaces: a container without a mount namespace of its own is not supported")
    for field in ("vm", "windows", "solaris", "zos"):
        if spec.get(field):
            raise NotSupported(f"{field} is not supported: containers here are linux containers")
    if process := spec.get("process"):
        validate_process(process)


def validate_process(process: dict[str, Any]) -> None:
    """The same for an OCI process object, also that of an exec."""
    if not process.get("args"):
        raise InvalidArgument("process.args: args must not be empty")
    cwd = process.get("cwd")
    if not isinstance(cwd, str) or not cwd.startswith("/"):
        raise InvalidArgument("process.cwd: Cwd must be an absolute path")
    if process.get("selinuxLabel") not in (None, ""):
        raise NotSupported("process.selinuxLabel is not supported: SELinux is not driven yet")
    if process.get("scheduler") or process.get("execCPUAffinity"):
        raise NotSupported("process.scheduler and process.execCPUAffinity are not supported yet")
    if process.get("ioPriority"):
        raise NotSupported("process.ioPriority is not supported yet")
    for text in (*process["args"], *(process.get("env") or ()), cwd):
        if not isinstance(text, str) or "\0" in text:
            raise InvalidArgument("process: args, env and cwd must be strings without null bytes")
