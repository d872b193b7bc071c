"""What a test run may leave behind, counted before and after: the run fails when anything remains."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

SETTLE_SECONDS = 10.0
MARKS = ("corten", "docker-registry")


def snapshot() -> set[str]:
    """One line for each thing on this machine that an engine under test may have made."""
    return {*_processes(), *_mounts(), *_cgroups(), *_network_namespaces(), *_directories()}


def settle(before: set[str]) -> list[str]:
    """What is there now and was not before, after the kernel had up to ten seconds to finish tearing down."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        remains = sorted(snapshot() - before)
        if not remains or time.monotonic() > deadline:
            return remains
        time.sleep(0.1)


def _processes() -> set[str]:
    """Processes in this network namespace or a younger one that carry an engine's marks, besides ourselves."""
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in (os.getpid(), os.getppid()):
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            groups = (entry / "cgroup").read_text()
            namespace = os.readlink(entry / "ns/net")
        except OSError:
            continue
        ours = namespace == os.readlink("/proc/self/ns/net") and any(mark in command for mark in MARKS)
        if (ours and "pytest" not in command) or ":/corten" in groups:
            found.add(f"process {entry.name} {command[:120]}")
    return found


def _mounts() -> set[str]:
    return {f"mount {line.split()[4]}" for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def _cgroups() -> set[str]:
    found = set()
    for hierarchy in Path("/sys/fs/cgroup").iterdir():
        if hierarchy.is_dir():
            found.update(f"cgroup {path}" for path in hierarchy.glob("corten*/**/") if path.is_dir())
            found.update(f"cgroup {path}" for path in hierarchy.glob("corten*") if path.is_dir())
    return found


def _network_namespaces() -> set[str]:
    """Interfaces of this namespace beyond loopback: a bridge, or a veth whose peer is still held."""
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    return {f"interface {line.split(':')[0].strip()}" for line in lines}


def _directories() -> set[str]:
    return {f"directory {path}" for path in Path(tempfile.gettempdir()).glob("corten-*")}
