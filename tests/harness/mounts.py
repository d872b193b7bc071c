"""Mount values executed, as the runtime does it, in the private mount namespace the tests run in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corten.linux import mount
from corten.storage.trees import Mount


@contextmanager
def mounted(values: list[Mount], target: Path) -> Iterator[Path]:
    """The root mount of ``values`` on the new directory ``target``."""
    (value,) = values
    target.mkdir(exist_ok=True)
    here = os.open(".", os.O_PATH)
    read_only = "ro" in value["options"]
    try:
        os.chdir(value.get("chdir", "/"))
        if value["type"] == "bind":
            mount.mount(value["source"], str(target), "", mount.MS_BIND | mount.MS_REC)
            if read_only:
                mount.mount("", str(target), "", mount.MS_BIND | mount.MS_REMOUNT | mount.MS_RDONLY)
        else:
            data = ",".join(option for option in value["options"] if option != "ro")
            assert len(data) < 4096
            mount.mount(value["source"], str(target), value["type"], mount.MS_RDONLY if read_only else 0, data)
    finally:
        os.fchdir(here)
        os.close(here)
    try:
        yield target
    finally:
        mount.umount2(str(target), mount.MNT_DETACH)
