"""Which platform an image is for, and which of several manifests runs on a host.

Normal forms and the order of preference are containerd's (``platforms`` package): a newer CPU runs images of older
variants, never the reverse. Knows nothing of manifests beyond their descriptors' ``platform``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Final

from corten.errors import InvalidArgument
from corten.oci.image import Descriptor, Platform

_PART: Final = re.compile(r"[A-Za-z0-9_.-]+\Z")
_ARCHITECTURES: Final = {
    "x86_64": ("amd64", ""), "x86-64": ("amd64", ""), "i386": ("386", ""), "i486": ("386", ""), "i586": ("386", ""),
    "i686": ("386", ""), "aarch64": ("arm64", ""), "aarch64_be": ("arm64be", ""), "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"), "armv8l": ("arm", "v8"), "armv7l": ("arm", "v7"), "armv6l": ("arm", "v6"),
    "armv5tel": ("arm", "v5"), "armv5tejl": ("arm", "v5"), "mips64el": ("mips64le", ""), "loongarch64": ("loong64", ""),
}  # fmt: skip
_KNOWN_ARCHITECTURES: Final = frozenset({
    "386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "loong64", "mips", "mipsle", "mips64", "mips64le",
    "ppc", "ppc64", "ppc64le", "riscv", "riscv64", "s390", "s390x", "sparc", "sparc64", "wasm",
})  # fmt: skip
_ARM_ORDER: Final = ("v8", "v7", "v6", "v5")


def host() -> Platform:
    """The platform of this machine, from uname(2)."""
    system = os.uname()
    return normalise(Platform(os=system.sysname.lower(), architecture=system.machine))


def normalise(platform: Platform) -> Platform:
    """The one spelling of a platform: Go's names, default variants dropped (arm64) or filled in (arm)."""
    system = "darwin" if platform.os.lower() == "macos" else platform.os.lower()
    architecture, variant = platform.architecture.lower(), platform.variant.lower()
    if architecture in _ARCHITECTURES:
        architecture, implied = _ARCHITECTURES[architecture]
        variant = variant or implied
    if variant.isdigit():
        variant = f"v{variant}"
    if architecture == "arm64" and variant in ("v8", "v8.0"):
        variant = ""
    elif architecture == "arm":
        variant = variant or "v7"
    elif architecture == "amd64" and variant == "v1":
        variant = ""
    return Platform(architecture, system, platform.os_version, platform.os_features, variant)


def parse(text: str) -> Platform:
    """``os[/arch[/variant]]`` or an architecture alone, as ``--platform`` takes it.

    Raises:
        InvalidArgument: naming the text.
    """
    parts = text.split("/")
    if len(parts) > 3 or not all(_PART.match(part) for part in parts):
        raise InvalidArgument(f'"{text}": invalid platform: use os/architecture or os/architecture/variant')
    if len(parts) == 1:
        alone = normalise(Platform(os="linux", architecture=parts[0]))
        if alone.architecture in _KNOWN_ARCHITECTURES:
            return alone
        if parts[0].lower() in ("linux", "windows", "darwin", "freebsd"):
            return normalise(Platform(os=parts[0], architecture=host().architecture, variant=host().variant))
        raise InvalidArgument(f'"{text}": unknown operating system or architecture: invalid argument')
    return normalise(Platform(os=parts[0], architecture=parts[1], variant=parts[2] if len(parts) == 3 else ""))


def display(platform: Platform) -> str:
    """``linux/arm/v7``."""
    return "/".join(part for part in (platform.os, platform.architecture, platform.variant) if part)


def runnable(wanted: Platform) -> list[Platform]:
    """What satisfies ``wanted``, best first: itself, then older variants, then the 32-bit sibling."""
    wanted = normalise(wanted)
    names = [(wanted.architecture, wanted.variant)]
    if wanted.architecture == "arm" and wanted.variant in _ARM_ORDER:
        names += [("arm", older) for older in _ARM_ORDER[_ARM_ORDER.index(wanted.variant) + 1 :]]
    elif wanted.architecture == "arm64":
        names += [("arm64", "")] if wanted.variant else []
        names += [("arm", variant) for variant in _ARM_ORDER]
    elif wanted.architecture == "amd64":
        level = int(wanted.variant[1:]) if re.fullmatch(r"v[0-9]", wanted.variant) else 1
        names += [("amd64", f"v{older}" if older > 1 else "") for older in range(level - 1, 0, -1)]
        names += [("386", "")]
    return [Platform(os=wanted.os, architecture=name, variant=variant) for name, variant in names]


def matches(candidate: Platform, wanted: Platform, *, exact: bool = False) -> bool:
    """Whether an image for ``candidate`` may run where ``wanted`` is asked for; ``exact`` admits no older variant."""
    shaped = _key(normalise(candidate))
    accepted = runnable(wanted)
    return shaped in [_key(platform) for platform in (accepted[:1] if exact else accepted)]


def choose(descriptors: Iterable[Descriptor], wanted: Platform) -> Descriptor | None:
    """The best of an index's manifests for ``wanted``, the first of equals; attestations (unknown) never match."""
    ranked = _rank([item for item in descriptors if item.platform is not None], runnable(wanted))
    return ranked[0] if ranked else None


def _rank(descriptors: Sequence[Descriptor], accepted: Sequence[Platform]) -> list[Descriptor]:
    order = {_key(platform): rank for rank, platform in reversed(list(enumerate(accepted)))}
    found = [
        (order[_key(shaped)], item)
        for item in descriptors
        if item.platform is not None and _key(shaped := normalise(item.platform)) in order
    ]
    return [item for _, item in sorted(found, key=lambda pair: pair[0])]


def _key(platform: Platform) -> tuple[str, str, str]:
    return platform.os, platform.architecture, platform.variant
