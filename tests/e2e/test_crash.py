"""``kill -9`` of cortend at random points under load: nothing half-made, nothing leaked, nothing that ran is touched.

The load is real clients in threads: loops of start and remove, stop, pull and delete, load. After each kill the engine
starts again on the same roots; at the end the store is verified and everything that may leak is counted.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.engine import EngineProcess
from tests.harness.registry import RegistryProcess

pytestmark = pytest.mark.root

SHORT_ROUNDS = 6
LONG_ROUNDS = 110
SEED = 20261124
REFERENCE = "127.0.0.1:5000/load/debian:latest"


class Load:
    """Client loops that run until ``stop``; failures are expected while the engine is dead, hangs are not."""

    def __init__(self, engine: EngineProcess, saved: Path) -> None:
        self.engine = engine
        self.saved = saved
        self.done = threading.Event()
        self.completed: dict[str, int] = {}
        self.threads = [
            threading.Thread(target=self._loop, args=(name, work), daemon=True)
            for name, work in {
                "run": lambda turn: [("run", "--rm", "busybox", "true")],
                "run published": lambda turn: [("run", "--rm", "-p", f"{20000 + turn % 50}:80", "busybox", "true")],
                "start and stop": self._start_and_stop,
                "pull": lambda turn: [("pull", "-q", REFERENCE), ("rmi", REFERENCE)],
                "load": lambda turn: [("load", "-i", str(self.saved)), ("rmi", "saved:latest")],
                "volume": lambda turn: [("run", "--rm", "-v", "/data", "busybox", "sh", "-c", "echo x > /data/x")],
            }.items()
        ]

    @staticmethod
    def _start_and_stop(turn: int) -> list[tuple[str, ...]]:
        name = f"cycle-{turn}"
        return [
            ("run", "-d", "--name", name, "--memory", "64m", "busybox", "sh", "-c", "trap exit TERM; sleep 60 & wait"),
            ("stop", "-t", "5", name),
            ("rm", "-f", name),
        ]

    def _loop(self, name: str, work: Callable[[int], list[tuple[str, ...]]]) -> None:
        turn = 0
        while not self.done.is_set():
            turn += 1
            results = [self.engine.docker(*command, check=False, timeout=60).returncode for command in work(turn)]
            self.completed[name] = self.completed.get(name, 0) + (results == [0] * len(results))

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self.threads:
            thread.start()
        try:
            yield
        finally:
            self.done.set()
            for thread in self.threads:
                thread.join(90)
            assert not any(thread.is_alive() for thread in self.threads), "a client hung"


def steady(engine: EngineProcess) -> dict[str, str]:
    """Containers that run through everything: name -> the pid of their first process."""
    script = "i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.05; done"
    for number in range(3):
        engine.docker("run", "-d", "--name", f"steady-{number}", "busybox", "sh", "-c", script)
    return {f"steady-{number}": pid_of(engine, f"steady-{number}") for number in range(3)}


def pid_of(engine: EngineProcess, name: str) -> str:
    return engine.docker("inspect", "-f", "{{.State.Pid}}", name).stdout.strip()


def crash_rounds(engine: EngineProcess, rounds: int, pids: dict[str, str]) -> None:
    """Kill and restart ``rounds`` times; the steady containers keep their pids and the engine knows them at once."""
    moment = random.Random(SEED)
    for _ in range(rounds):
        time.sleep(moment.uniform(0.0, 0.6))
        engine.kill()
        time.sleep(moment.choice([0.0, 0.0, 0.1]))
        engine.start()
        assert {name: pid_of(engine, name) for name in pids} == pids
        assert all(os.path.exists(f"/proc/{pid}") for pid in pids.values())


def no_tick_lost(engine: EngineProcess, name: str) -> None:
    """The log holds every line the container wrote, in order, whatever happened to the engine meanwhile."""
    ticks = [int(line.split()[1]) for line in engine.docker("logs", name).stdout.splitlines()]
    assert ticks == list(range(1, len(ticks) + 1))
    assert len(ticks) > 10


def remains(engine: EngineProcess) -> dict[str, list[str]]:
    """What belongs to no container or image: everything here must be empty once all containers are removed."""
    suffix = engine.instance
    mounts = [
        line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(engine.root) in line
    ]
    ruleset = json.loads(
        subprocess.run(["nft", "-j", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
    )
    elements = [
        json.dumps(item[kind]["elem"])
        for item in ruleset["nftables"]
        for kind in ("map", "set")
        if kind in item and item[kind].get("elem") and re.search(r"\b2\d{4}\b", json.dumps(item[kind]["elem"]))
    ]
    return {
        "processes": processes(engine),
        "cgroups": [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/corten-{suffix}/*/")],
        "mounts": mounts,
        "nft elements of published ports": elements,
        "snapshots": os.listdir(engine.data_root / "snapshots"),
        "container directories": os.listdir(engine.data_root / "containers"),
        "volumes": [name for name in os.listdir(engine.data_root / "volumes") if len(name) == 64],
        "ingests": os.listdir(engine.data_root / "content/ingest"),
        "half made or half deleted": [
            f"{folder}/{name}"
            for folder in ("layers", "snapshots", "volumes", "init")
            for name in os.listdir(engine.data_root / folder)
            if name.startswith(".")
        ],
        "state files of the shim": os.listdir(engine.exec_root / "shim"),
        "interfaces": [name for name in interfaces() if name not in ("lo", engine.bridge)],
    }


def processes(engine: EngineProcess) -> list[str]:
    """Those in the engine's cgroups, and those with its exec root on their command line but cortend and the shim."""
    assert engine.process is not None
    own = {str(engine.process.pid), str(engine.shim_pid())}
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or entry.name in own:
            continue
        try:
            groups = (entry / "cgroup").read_text()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if f"/corten-{engine.instance}" in groups or str(engine.exec_root).encode() in command:
            found.append(f"{entry.name} {command!r}")
    return found


def descriptors(engine: EngineProcess) -> list[str]:
    """What the shim holds open, by kind: a namespace, pipe, socket or pidfd too many is a leak."""
    folder = f"/proc/{engine.shim_pid()}/fd"
    found = []
    for name in os.listdir(folder):
        try:
            found.append(re.sub(r"[0-9]+", "N", os.readlink(f"{folder}/{name}")))
        except FileNotFoundError:
            continue
    return sorted(found)


def eventually(look: Callable[[], object], wanted: object) -> None:
    """Until ``look`` gives what is wanted; its last answer is compared, so a failure shows it."""
    deadline = time.monotonic() + 15
    while look() != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    assert look() == wanted


def interfaces() -> list[str]:
    return [line.split(":")[0].strip() for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]]


def crash_under_load(engine: EngineProcess, debian_tar: Path, rounds: int) -> None:
    with RegistryProcess.running() as registry:
        engine.import_image(debian_tar, REFERENCE)
        engine.docker("push", "-q", REFERENCE)
        engine.docker("rmi", REFERENCE)
        engine.docker("tag", "busybox:latest", "saved:latest")
        saved = engine.root / "saved.tar"
        engine.docker("save", "-o", str(saved), "saved:latest")
        engine.docker("rmi", "saved:latest")
        engine.docker("run", "--rm", "busybox", "true")  # what the shim opens at its first container stays
        held = descriptors(engine)
        pids = steady(engine)
        load = Load(engine, saved)
        with load.running():
            crash_rounds(engine, rounds, pids)
            time.sleep(5)  # every loop completes at least once on the last engine, so none was broken for good
        assert all(load.completed.get(name, 0) > 0 for name in ("run", "run published", "load", "volume")), (
            load.completed
        )
        engine.docker("pull", "-q", REFERENCE)
        assert registry.manifest("load/debian", "latest")[0] in engine.docker("images", "--digests").stdout
        assert engine.docker("run", "--rm", REFERENCE, "python3", "-c", "print(6 * 7)").stdout == "42\n"
        engine.docker("load", "-i", str(saved))
        engine.docker("rmi", REFERENCE, "saved:latest")

    for name in pids:
        no_tick_lost(engine, name)
    everything = engine.docker("ps", "-aq").stdout.split()
    engine.docker("rm", "-f", "-v", *everything, timeout=120)
    eventually(lambda: descriptors(engine), held)
    nothing_is_left(engine)
    engine.stop()
    assert engine.verify() == []
    engine.start()
    nothing_is_left(engine)


def nothing_is_left(engine: EngineProcess) -> None:
    """No leak, and the store is whole."""
    eventually(lambda: {kind: found for kind, found in remains(engine).items() if found}, {})
    assert engine.verify() == []


def test_kill_under_load_short(fresh_engine: EngineProcess, debian_tar: Path) -> None:
    crash_under_load(fresh_engine, debian_tar, SHORT_ROUNDS)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_kill_under_load(fresh_engine: EngineProcess, debian_tar: Path) -> None:
    crash_under_load(fresh_engine, debian_tar, LONG_ROUNDS)
