"""``DeviceRequests``: --gpus, and --device with a CDI name, as names of CDI devices; pure but for reading the specs.

Docker's ``nvidia`` driver starts a vendor's program; here a GPU is the CDI device that the vendor's specs declare for
it. Without such specs the answer is Docker's on a host without that driver.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from corten.api.types.container import DeviceRequest
from corten.engine import cdi
from corten.errors import InvalidArgument

CDI: Final = "cdi"
#: Driver -> the kind of its devices and the capabilities it has (moby's lists).
DRIVERS: Final = {
    "nvidia": (
        "nvidia.com/gpu",
        frozenset({"gpu", "nvidia", "compute", "compat32", "graphics", "utility", "video", "display", "ngx"}),
    ),
    "amd": ("amd.com/gpu", frozenset({"gpu", "amd"})),
}


def check(requests: Iterable[DeviceRequest]) -> None:
    """What can be told without the host. Raises InvalidArgument with Docker's text."""
    for request in requests:
        if request.Driver == CDI and request.Count:
            raise InvalidArgument("unexpected count in CDI device request")
        if request.Driver == CDI and request.Options:
            raise InvalidArgument("unexpected options in CDI device request")
        if request.Count and request.DeviceIDs:
            raise InvalidArgument("cannot set both Count and DeviceIDs on device request")


def inject(document: dict[str, Any], requests: Sequence[DeviceRequest], directories: Iterable[str]) -> None:
    """Give the document what the requests ask for; blocks for as long as reading the specs takes.

    Raises:
        InvalidArgument: no driver, or no such device; Docker's text.
    """
    if not requests:
        return
    registry = cdi.scan(directories)
    names = [name for request in requests for name in select(request, registry)]
    for edits in registry.edits(list(dict.fromkeys(names))):
        nodes = tuple(cdi.resolve(node) for node in edits.device_nodes)
        cdi.apply(document, msgspec.structs.replace(edits, device_nodes=nodes))


def select(request: DeviceRequest, registry: cdi.Registry) -> list[str]:
    """The full names of the devices one request means.

    Raises:
        InvalidArgument: ``could not select device driver ...``
    """
    if request.Driver == CDI:
        return list(request.DeviceIDs or ())
    for driver, (kind, known) in DRIVERS.items():
        if request.Driver not in ("", driver) or not any(set(all_of) <= known for all_of in request.Capabilities or ()):
            continue
        present = sorted(name for name in registry.devices if name.startswith(f"{kind}="))
        if present:
            return _of_kind(request, kind, present)
    sets = " ".join(f"[{' '.join(all_of)}]" for all_of in request.Capabilities or ())
    raise InvalidArgument(f'could not select device driver "{request.Driver}" with capabilities: [{sets}]')


def _of_kind(request: DeviceRequest, kind: str, present: Sequence[str]) -> list[str]:
    if request.DeviceIDs:
        return [name if "=" in name else f"{kind}={name}" for name in request.DeviceIDs]
    every = f"{kind}=all"
    numbered = [name for name in present if name != every]
    if request.Count < 0:
        return [every] if every in present else numbered
    return [f"{kind}={number}" for number in range(request.Count)]
