"""What a container's document needs for a runtime that is not our own; pure.

Our own runtime gets the seccomp program compiled and has an init in itself; any other gets the profile's document, and
a program of the host as Docker's ``/sbin/docker-init``. Users, the root and the engine's own keys are settled by the
process that becomes the runtime (:mod:`corten.runtime.staging`), which sees the container's files.
"""

from typing import Any, Final

from corten.engine.config import RuntimeConfig
from corten.errors import NotSupported

INIT: Final = "/sbin/docker-init"
#: Programs that are statically linked and take their command after "--", in the order of preference.
INIT_PROGRAMS: Final = ("docker-init", "catatonit", "tini-static")


def adapt(spec: dict[str, Any], *, seccomp: dict[str, Any] | None, init: str) -> None:
    """Complete the document; ``init`` is the host's path of an init, "" for none.

    The version is one that every runtime takes: crun before 1.8.2 refuses those from 1.1 on, and members of later
    versions are ignored by who does not know them ("Extensibility").
    """
    spec["ociVersion"] = "1.0.2"
    if seccomp is not None:
        spec["linux"]["seccomp"] = seccomp
    if init:
        spec["process"]["args"] = [INIT, "--", *spec["process"]["args"]]
        options = ["bind", "ro"]
        spec["mounts"] = [*spec["mounts"], {"destination": INIT, "type": "bind", "source": init, "options": options}]


def check(runtime: RuntimeConfig, *, user_namespace: bool, wants_init: bool, init: str) -> None:
    """Raises NotSupported naming what only our own runtime can give."""
    if user_namespace:
        raise NotSupported(
            f"user namespaces are not supported with --runtime {runtime.name}: its root would have to be mounted with "
            "other ids; use --userns host or the runtime corten"
        )
    if wants_init and not init:
        raise NotSupported(
            f"--init is not supported with --runtime {runtime.name}: this host has none of {', '.join(INIT_PROGRAMS)}"
        )
