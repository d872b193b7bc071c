"""Differences that stay, each with its reason: docs/compatibility.md lists the reasons in the same words.

A row is (script, beginning of the command, place, what Corten has there, reason); ``*`` as in a shell.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final, NamedTuple


class Known(NamedTuple):
    """One difference, or several of a kind."""

    script: str
    command: str
    where: str
    ours: str
    reason: str


NEWER: Final = "Docker's own text or value since 23.0; the reference is 20.10"
STORE: Final = "the layers of images and containers lie in other directories, and have no other names"
MASKED: Final = "paths that later releases of Docker mask too"
RUNTIME: Final = "the runtime is Corten's own, unless another one is asked for"
SIZE: Final = "Docker also counts the files of its init layer"
VOLATILE: Final = "a number of the moment"
LAYERS: Final = "the words of containerd's and runc's layers, which are not there, are left out"
ORDER: Final = "Docker lists mounts in no order; ours is that of the request"
REFUSED: Final = "an unknown filter is refused where Docker ignores it"
BRIDGE: Final = "an engine with roots of its own has a bridge of its own"
DOCKERS: Final = "what Docker notes of itself when it makes an image"
BLOCKS: Final = "what was given back is counted as the disk counts it: in blocks, logs and directories included"
POOLS: Final = "the address pools are said also when they are the default ones"
DATA: Final = "a row of our own: what of the data root belongs to no image, container or volume"
BFQ: Final = "the weight is set through blkio.bfq.weight, which 20.10 does not know"
TAG: Final = "an image is named with the tag that was looked for"
LOOKUP: Final = "the resolver's text"
SANDBOX: Final = "a network namespace has no name in the file system; the path is that of the process"
ITSELF: Final = "an engine's own name, versions, parts and identity"
DRIVERS: Final = "the log drivers of clouds and the network drivers ipvlan, macvlan and overlay are not there"
OVER: Final = "a container that has ended has no network namespace, and is in no network, any more"
LIVE: Final = "containers always survive the engine"

#: Texts in lower case that began with a capital in 20.10.
_LOWER: Final = (
    "*container * is not running", "*container * is paused, unpause the container before exec",
    "*invalid filter 'nosuch'", "*range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
    "*no command specified", "*invalid signal: *", "*invalid IPC mode: nosuch", "*cannot kill container: *",
    '*cannot remove container "/made": container is running: stop the container before removing or force remove',
)  # fmt: skip

KNOWN: Final[tuple[Known, ...]] = (
    Known("*", "*", "*.GraphDriver.Data*", "*", STORE),
    Known("*", "*", "*.LogPath", "*", STORE),
    Known("*", "*", "*.HostConfig.MaskedPaths*", "*", MASKED),
    Known("*", "*", "*.HostConfig.Runtime", '"corten"', RUNTIME),
    Known("*", "*", "*.HostConfig.NetworkMode", '"bridge"', NEWER),
    Known("*", "*", "*.HostConfig.KernelMemory*", "(missing)", NEWER),
    Known("*", "*", "*.SizeRootFs", "*", SIZE),
    Known("*", "*", "*[[]0].Size", "*", SIZE),
    Known("*", "*", "*.VirtualSize", "*", SIZE),
    Known("*", "*", "*.State.Pid", "*", VOLATILE),
    Known("*", "*", "*.SandboxKey", '"/proc/*/ns/net"', SANDBOX),
    Known("inspect-bare", "inspect bare", "*.NetworkID", '""', OVER),
    Known("inspect-bare", "inspect bare", "*.Sandbox*", '""', OVER),
    Known("inspect-container", "inspect *", "[[]0].Mounts*", "*", ORDER),
    Known("inspect-container", "ps *", "out 1", "seen 90/udp, 127.0.0.1:<port>->80/tcp * bridge 2", ORDER),
    *(Known("*", "*", "err 1", text, NEWER) for text in _LOWER),
    Known("missing", "image inspect nosuch", "err 1", "*No such image: nosuch:latest", NEWER),
    Known("images", "*", "err 1", '*No such image: sdk/other:1"', NEWER),
    Known("docker-py", "images", "*", '"No such image: sdk/other:1"', NEWER),
    Known("docker-py", "system", "*.BuilderSize", "(missing)", NEWER),
    Known("docker-py", "system", "*.KernelMemory*", "(missing)", NEWER),
    Known("docker-py", "system", "*.CDISpecDirs", "true", NEWER),
    Known("docker-py", "system", "*.DefaultAddressPools", "true", POOLS),
    Known("docker-py", "system", "*.DataRoot", "true", DATA),
    *(
        Known("docker-py", "about", f"[[]0].{where}*", ours, why)
        for where, ours, why in (
            *(
                (part, "*", ITSELF)
                for part in ("ContainerdCommit", "RuncCommit", "InitCommit", "InitBinary", "Runtimes")
            ),
            *((part, "*", ITSELF) for part in ("DefaultRuntime", "ServerVersion", "ID", "DriverStatus.Engine")),
            ("Plugins.Log", "(missing)", DRIVERS),
            ("Plugins.Network", "(missing)", DRIVERS),
            ("LiveRestoreEnabled", "true", LIVE),
            ("NFd", "*", VOLATILE),
            ("NGoroutines", "*", VOLATILE),
            ("DefaultAddressPools", "[[]]", POOLS),
            ("CDISpecDirs", "*", NEWER),
            ("KernelMemory", "(missing)", NEWER),
            ("DriverStatus.Using metacopy", '"false"', NEWER),
            ("RegistryConfig.InsecureRegistryCIDRs.::1/128", "true", NEWER),
            ("SecurityOptions", '"name=seccomp,profile=builtin"', NEWER),
        )
    ),
    Known("docker-py", "about", "[[]1].*ApiVersion", '"1.51"', NEWER),
    Known("docker-py", "about", "[[]1].*MinAPIVersion", '"1.24"', NEWER),
    *(
        Known("docker-py", "about", f"[[]1].{where}", "*", ITSELF)
        for where in ("Components*", "*GitCommit", "*GoVersion", "*Version", "Platform.Name")
    ),
    Known("docker-py", "run", "*", '"Get *no such host"', LOOKUP),
    Known("*", "*prune -f", "out 4", "Total reclaimed space: *kB", BLOCKS),
    Known("run-errors", "run --rm --runtime nosuch *", "err 1", "*unknown or invalid runtime name: nosuch", NEWER),
    Known("run-errors", "run --rm --isolation *", "err 1", "*invalid isolation: *", NEWER),
    Known("run-errors", "run --rm --blkio-weight *", "err 1", "(missing)", BFQ),
    Known("missing", "save nosuch", "err 1", "*No such image: nosuch:latest", TAG),
    Known("docker-py", "life", "[[]6].Error", "(missing)", NEWER),
    Known("missing", "events *", "*", "*", REFUSED),
    Known(
        "run-errors",
        "run --rm busybox nosuchprogram",
        "err 1",
        '*unable to start container process: exec: "nosuchprogram": executable file not found in $PATH',
        LAYERS,
    ),
    Known(
        "run-errors",
        "run --rm busybox /etc",
        "err 1",
        '*unable to start container process: exec: "/etc": is a directory',
        LAYERS,
    ),
    Known(
        "run-errors",
        "run --rm --net host --sysctl *",
        "err 1",
        "*sysctl 'net.ipv4.ip_forward' not allowed in host network namespace",
        LAYERS,
    ),
    Known("run-errors", "run --rm --ip *", "err 1", "*invalid config for network bridge: user specified IP*", NEWER),
    Known(
        "state-errors", "exec *", "out 1", "OCI runtime exec failed: exec failed: unable to start container*", LAYERS
    ),
    Known("state-errors", "exec *nosuch*", "exit", "127", NEWER),
    Known("inspect-image", "image inspect *", "*.ContainerConfig*", "*", DOCKERS),
    Known("inspect-image", "image inspect *", "*.DockerVersion", '""', DOCKERS),
    Known("networks", "network inspect bridge", "*com.docker.network.bridge.name", "*", BRIDGE),
    Known("networks", "network inspect bridge", "*.Gateway", '"<address>"', NEWER),
    Known("networks", "network inspect *", "*.IPAM.Config", "null", NEWER),
)


def reason(script: str, command: str, where: str, ours: str) -> str:
    """Why this difference is right; empty when it is not."""
    for row in KNOWN:
        if (
            fnmatchcase(script, row.script)
            and fnmatchcase(command, row.command)
            and fnmatchcase(where, row.where)
            and fnmatchcase(ours, row.ours)
        ):
            return row.reason
    return ""
