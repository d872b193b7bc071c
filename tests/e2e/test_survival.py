"""What a user sees when the engine, the shim or both die under running containers: through the docker CLI."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.harness.engine import EngineProcess

pytestmark = pytest.mark.root

LINES = 150
TALK = f"i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo line $i; sleep 0.02; done; exit 7"
FOREVER = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done"
UNTIL_TOLD = "trap 'echo told; exit 9' TERM; echo up; while :; do sleep 0.05; done"
UNKNOWN = 255
PATIENCE = 20.0
#: Before Linux 6.15 (PIDFD_INFO_EXIT) nobody but the parent learns an exit code.
CODES_OF_STRANGERS = tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 15)


def expected(lines: int) -> list[str]:
    return [f"line {number}" for number in range(1, lines + 1)]


def state(engine: EngineProcess, name: str) -> dict[str, object]:
    return json.loads(engine.docker("inspect", "-f", "{{json .State}}", name).stdout)


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def logged(engine: EngineProcess, name: str) -> list[str]:
    return engine.docker("logs", name).stdout.splitlines()


def kill_shim(engine: EngineProcess) -> int:
    """Kill it; its pid. It is dead when it holds nothing open any more (its zombie is init's to bury)."""
    until(lambda: new_shim(engine, 0), "there is no shim")
    pid = engine.shim_pid()
    os.kill(pid, signal.SIGKILL)
    folder = Path(f"/proc/{pid}/fd")
    until(lambda: not folder.exists() or not os.listdir(folder), "the shim did not die")
    return pid


def new_shim(engine: EngineProcess, dead: int) -> bool:
    """Whether the next shim has written its pid."""
    try:
        return engine.shim_pid() != dead
    except ValueError:
        return False  # it holds the lock and has not written yet


@contextmanager
def client(engine: EngineProcess, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A docker command in the background, its output in pipes."""
    process = subprocess.Popen(
        ["docker", *arguments], env=engine.environment, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def first(stream: IO[str] | None, count: int) -> list[str]:
    assert stream is not None
    return [stream.readline().rstrip("\n") for _ in range(count)]


def rest(stream: IO[str] | None) -> list[str]:
    assert stream is not None
    return stream.read().splitlines()


def test_an_attached_client_outlives_the_engine(fresh_engine: EngineProcess) -> None:
    """Every line arrives though nobody is there to answer ``wait``; that request dies, and docker says so with 125."""
    with client(fresh_engine, "run", "--name", "talks", "busybox", "sh", "-c", TALK) as run:
        lines = first(run.stdout, 20)
        fresh_engine.kill()
        lines += rest(run.stdout)
        assert lines == expected(LINES)
        assert run.wait(30) == 125
        assert "unexpected EOF" in (run.stderr.read() if run.stderr else "")
    fresh_engine.start()
    found = state(fresh_engine, "talks")
    assert (found["Status"], found["ExitCode"]) == ("exited", 7)
    assert logged(fresh_engine, "talks") == expected(LINES)


def test_an_attached_client_outlives_a_restart_of_the_engine(fresh_engine: EngineProcess) -> None:
    """As above, with the next engine there before the container ends; what attaches to it later is served as well."""
    with client(fresh_engine, "run", "--name", "talks", "-i", "busybox", "sh", "-c", TALK) as run:
        lines = first(run.stdout, 10)
        fresh_engine.kill()
        fresh_engine.start()
        with client(fresh_engine, "attach", "--no-stdin", "talks") as second:
            late = rest(second.stdout)
            assert second.wait(30) == 7
        assert lines + rest(run.stdout) == expected(LINES)
    assert late == expected(LINES)[-len(late) :]
    assert late


def test_an_exec_outlives_the_engine(fresh_engine: EngineProcess) -> None:
    fresh_engine.docker("run", "-d", "--name", "host", "busybox", "sleep", "600")
    with client(fresh_engine, "exec", "host", "sh", "-c", TALK) as run:
        lines = first(run.stdout, 10)
        fresh_engine.kill()
        assert lines + rest(run.stdout) == expected(LINES)
    fresh_engine.start()
    assert fresh_engine.docker("exec", "host", "echo", "again").stdout == "again\n"


def test_exits_while_no_engine_ran_are_known(fresh_engine: EngineProcess) -> None:
    fresh_engine.docker("run", "-d", "--name", "kept", "busybox", "sh", "-c", UNTIL_TOLD)
    fresh_engine.docker("run", "-d", "--name", "gone", "--rm", "-v", "/data", "busybox", "sh", "-c", UNTIL_TOLD)
    pids = [int(str(state(fresh_engine, name)["Pid"])) for name in ("kept", "gone")]
    until(lambda: logged(fresh_engine, "kept") == logged(fresh_engine, "gone") == ["up"], "the traps are not set")
    fresh_engine.kill()
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "the containers did not end")
    fresh_engine.start()
    found = state(fresh_engine, "kept")
    assert (found["Status"], found["ExitCode"], found["OOMKilled"]) == ("exited", 9, False)
    assert logged(fresh_engine, "kept") == ["up", "told"]
    assert fresh_engine.docker("wait", "kept").stdout == "9\n"
    until(lambda: fresh_engine.docker("ps", "-aq", "--filter", "name=gone").stdout == "", "--rm left a container")
    until(lambda: fresh_engine.docker("volume", "ls", "-q").stdout == "", "--rm left its volume")


def test_policies_and_health_over_a_kill_and_a_reboot(fresh_engine: EngineProcess) -> None:
    """A killed engine is followed by one that goes on; after a reboot (no process, no exec root) policies decide."""
    check = ["--health-cmd", "test -e /healthy", "--health-interval", "200ms", "--health-retries", "2"]
    fresh_engine.docker("run", "-d", "--name", "web", "--restart", "unless-stopped", *check, "busybox", "sleep", "600")
    fresh_engine.docker("run", "-d", "--name", "loop", "--restart", "always", "busybox", "sh", "-c", "exit 7")
    fresh_engine.docker("run", "-d", "--name", "beside", "--network", "container:web", "--restart", "always", "busybox",
                        "sleep", "600")  # fmt: skip
    fresh_engine.docker("run", "-d", "--name", "plain", "busybox", "sleep", "600")
    fresh_engine.docker("exec", "web", "touch", "/healthy")
    until(lambda: health(fresh_engine) == "healthy", "the check was not run")
    until(lambda: state(fresh_engine, "loop")["Status"] == "restarting", "no pause")
    fresh_engine.kill()
    fresh_engine.start()
    assert health(fresh_engine) == "healthy"
    count = int(fresh_engine.docker("inspect", "-f", "{{.RestartCount}}", "loop").stdout)
    again = lambda: int(fresh_engine.docker("inspect", "-f", "{{.RestartCount}}", "loop").stdout) > count  # noqa: E731
    until(again, "the policy was given up")
    fresh_engine.docker("stop", "loop")
    fresh_engine.kill()
    kill_shim(fresh_engine)
    for pid in groups(fresh_engine):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not groups(fresh_engine), "the containers did not end")
    shutil.rmtree(fresh_engine.exec_root)
    fresh_engine.start()
    for name in ("web", "beside", "loop"):
        until(lambda name=name: state(fresh_engine, name)["Status"] != "exited", f"{name} was not started")  # type: ignore[misc]
    assert state(fresh_engine, "plain")["Status"] == "exited"
    assert state(fresh_engine, "web")["StartedAt"] < state(fresh_engine, "beside")["StartedAt"]  # type: ignore[operator]
    until(lambda: health(fresh_engine) == "healthy", "it is not checked any more")


def health(engine: EngineProcess) -> str:
    return engine.docker("inspect", "-f", "{{.State.Health.Status}}", "web").stdout.strip()


def test_twenty_containers_over_an_orderly_restart(fresh_engine: EngineProcess) -> None:
    names = {f"many-{number:02}" for number in range(20)}
    for name in sorted(names):
        fresh_engine.docker("run", "-d", "--name", name, "busybox", "sh", "-c", UNTIL_TOLD)
    pids = {name: state(fresh_engine, name)["Pid"] for name in names}
    fresh_engine.stop()
    fresh_engine.start()
    assert set(fresh_engine.docker("ps", "--format", "{{.Names}}").stdout.split()) == names
    assert {name: state(fresh_engine, name)["Pid"] for name in names} == pids
    with client(fresh_engine, "wait", "many-07") as waiting, client(fresh_engine, "logs", "-f", "many-07") as following:
        assert first(following.stdout, 1) == ["up"]
        fresh_engine.docker("stop", *sorted(names))
        assert rest(waiting.stdout) == ["9"]
        assert rest(following.stdout) == ["told"]
        assert following.wait(30) == 0
    assert {state(fresh_engine, name)["ExitCode"] for name in names} == {9}


def test_containers_outlive_the_shim(fresh_engine: EngineProcess) -> None:
    """The engine holds copies of every descriptor: not a line is lost, and the next shim serves as the first."""
    fresh_engine.docker("run", "-d", "--name", "talks", "busybox", "sh", "-c", FOREVER)
    fresh_engine.docker("run", "-d", "--name", "ends", "busybox", "sh", "-c", UNTIL_TOLD)
    pids = {name: state(fresh_engine, name)["Pid"] for name in ("talks", "ends")}
    until(lambda: len(logged(fresh_engine, "talks")) > 10, "no output before")
    dead = kill_shim(fresh_engine)
    until(lambda: new_shim(fresh_engine, dead), "no new shim")
    seen = len(logged(fresh_engine, "talks"))
    until(lambda: len(logged(fresh_engine, "talks")) > seen + 10, "the log does not go on")
    assert {name: state(fresh_engine, name)["Pid"] for name in pids} == pids
    assert fresh_engine.docker("exec", "talks", "echo", "inside").stdout == "inside\n"
    with client(fresh_engine, "attach", "--no-stdin", "talks") as attached:
        attached_lines = first(attached.stdout, 5)
        attached.kill()  # SIGTERM it would pass on to the container
    fresh_engine.docker("stop", "ends")
    fresh_engine.docker("kill", "talks")
    lines = logged(fresh_engine, "talks")
    assert lines == expected(len(lines))
    assert set(attached_lines) <= set(lines)
    codes = {name: state(fresh_engine, name)["ExitCode"] for name in pids}
    assert codes == ({"talks": 137, "ends": 9} if CODES_OF_STRANGERS else dict.fromkeys(pids, UNKNOWN))
    assert fresh_engine.docker("run", "--rm", "busybox", "echo", "new").stdout == "new\n"


def test_containers_outlive_shim_and_engine(fresh_engine: EngineProcess) -> None:
    """Nobody held the pipes meanwhile: what is written then is lost, what sleeps goes on."""
    fresh_engine.docker("run", "-d", "--name", "quiet", "-p", "28080:80", "busybox", "sleep", "600")
    script = "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done"
    fresh_engine.docker("run", "-d", "--name", "died", "busybox", "sh", "-c", script)
    pids = {name: int(str(state(fresh_engine, name)["Pid"])) for name in ("quiet", "died")}
    until(lambda: logged(fresh_engine, "died") == ["up"], "the trap is not set")
    fresh_engine.kill()
    kill_shim(fresh_engine)
    os.kill(pids["died"], signal.SIGTERM)
    until(lambda: not alive(pids["died"]), "the container did not end")
    fresh_engine.start()
    assert state(fresh_engine, "quiet")["Pid"] == pids["quiet"]
    assert fresh_engine.docker("port", "quiet").stdout.startswith("80/tcp -> 0.0.0.0:28080")
    assert fresh_engine.docker("exec", "quiet", "echo", "inside").stdout == "inside\n"
    found = state(fresh_engine, "died")
    assert found["Status"] == "exited"
    assert found["ExitCode"] in (9, UNKNOWN), "exact if the next shim came before its burial, else unknown, never 0"
    fresh_engine.docker("stop", "-t", "0", "quiet")
    assert state(fresh_engine, "quiet")["Status"] == "exited"
    assert fresh_engine.docker("run", "--rm", "-p", "28080:80", "busybox", "echo", "new").stdout == "new\n"


def alive(pid: object) -> bool:
    """Whether it runs; a zombie that nobody has buried yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_shim_that_dies_in_the_middle_of_starts_leaves_nothing(fresh_engine: EngineProcess) -> None:
    """Starts fail or succeed; whichever it is, inspect tells the truth and no process is left outside of it."""
    clients = []
    for number in range(8):
        command = ["docker", "run", "-d", "--name", f"born-{number}", "busybox", "sleep", "600"]
        clients.append(
            subprocess.Popen(
                command, env=fresh_engine.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )
        if number in (2, 5):
            time.sleep(0.02 * number)
            kill_shim(fresh_engine)
    for process in clients:
        assert process.wait(60) in (0, 125)
    names = fresh_engine.docker("ps", "-a", "--format", "{{.Names}}").stdout.split()
    running = {name: state(fresh_engine, name) for name in names}
    for found in running.values():
        assert alive(found["Pid"]) == (found["Status"] == "running"), found
    until(lambda: groups(fresh_engine) == pids_of(running), "a process runs that no container has")


def pids_of(states: dict[str, dict[str, object]]) -> set[int]:
    return {int(str(found["Pid"])) for found in states.values() if found["Status"] == "running"}


def groups(engine: EngineProcess) -> set[int]:
    """Every process in the engine's cgroups."""
    found: set[int] = set()
    for path in Path("/sys/fs/cgroup").glob(f"*/corten-{engine.instance}/*/cgroup.procs"):
        found.update(int(line) for line in path.read_text().split())
    for path in Path("/sys/fs/cgroup").glob(f"corten-{engine.instance}/*/cgroup.procs"):
        found.update(int(line) for line in path.read_text().split())
    return found
