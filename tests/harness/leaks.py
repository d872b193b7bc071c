"""What a test run may leave behind, looked for at its end: the run fails when anything remains.

Another engine, or another run of these tests, may work on the same machine at the same time: only what belongs to this
run counts. Processes carry the run's token in their environment; engines register the names of their cgroups; mounts,
interfaces and nft tables are those of the run's own namespaces; directories are those below the run's own one.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

SETTLE_SECONDS = 10.0
TOKEN = "CORTEN_TEST_RUN"


class Watch:
    """One run: ``begin`` before its first test, ``remains`` after its last."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.token = f"{os.getpid()}-{time.time_ns()}"
        self.cgroups: set[str] = set()
        self._mounts: set[str] = set()

    def begin(self) -> None:
        """Remember what was there, and mark what will be started."""
        os.environ[TOKEN] = self.token
        self._mounts = _mounts()

    def remains(self) -> list[str]:
        """What is left, after the kernel had up to ten seconds to finish tearing down."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            found = sorted(self._look())
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.1)

    def _look(self) -> set[str]:
        return {
            *self._processes(),
            *(f"mount {path}" for path in _mounts() - self._mounts),
            *(f"cgroup {path}" for name in self.cgroups for path in Path("/sys/fs/cgroup").glob(f"*/{name}")),
            *(f"cgroup {path}" for name in self.cgroups for path in Path("/sys/fs/cgroup").glob(name)),
            *(f"interface {name}" for name in _interfaces() if name != "lo"),
            *(f"nft table {name}" for name in _tables()),
            *(f"directory {path}" for path in self.directory.iterdir() if not path.name.startswith("pytest-of-")),
        }

    def _processes(self) -> set[str]:
        """Processes with the run's token, and those in its engines' cgroups."""
        found = set()
        mark = f"{TOKEN}={self.token}".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                marked = mark in (entry / "environ").read_bytes()
                groups = (entry / "cgroup").read_text()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue
            if command and (marked or any(f":/{name}" in groups for name in self.cgroups)):
                found.add(f"process {entry.name} {command[:120]}")
        return found


def _mounts() -> set[str]:
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def _interfaces() -> list[str]:
    return [line.split(":")[0].strip() for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]]


def _tables() -> list[str]:
    try:
        result = subprocess.run(["nft", "-j", "list", "tables"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [item["table"]["name"] for item in json.loads(result.stdout)["nftables"] if "table" in item]
