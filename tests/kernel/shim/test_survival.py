"""Deaths: of the engine, of the shim, of both; and who may speak to the shim."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from pathlib import Path

import pytest

from corten.logs.reader import Reader
from corten.shim import client
from tests.kernel.shim.stage import Client, Engine, Host, RefusedError, wait_for

pytestmark = pytest.mark.root

EXACT = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) >= (6, 15)  # PIDFD_INFO_EXIT


def strangers(code: int) -> tuple[int, bool]:
    """``(code, unknown)`` of an exit that a shim sees without being the parent."""
    return (code, False) if EXACT else (255, True)


COUNT = "i=0; while [ $i -lt %d ]; do i=$((i+1)); echo line $i; done; exit 42"


def numbers(host: Host, container: str) -> list[int]:
    return [int(text.split()[1]) for _, _, text, _ in Reader(host.log(container)).read() if text.startswith(b"line")]


def state_of(engine: Engine, container: str) -> dict:
    return next(state for state in engine.hello["containers"] if state["id"] == container)


def kill_shim(host: Host) -> None:
    pid = host.shim_pid()
    os.kill(pid, signal.SIGKILL)
    # Its parent here is whoever adopts orphans; a zombie is as dead.
    wait_for(lambda: not Path(f"/proc/{pid}/fd").exists() or not os.listdir(f"/proc/{pid}/fd"))


def test_engine_killed_while_a_container_writes(host: Host) -> None:
    """The engine is a process of its own here, and is killed with SIGKILL while output flows."""
    watcher = Client()
    reader, writer = os.pipe()
    pid = os.fork()  # noqa: TID251  the engine that is going to be killed
    if pid == 0:
        victim = Engine(host)
        victim.start("c1", "sh", "-c", COUNT % 100_000, clients=[watcher.descriptor], attach=[watcher.options])
        os.write(writer, b".")
        signal.pause()
        os._exit(1)
    watcher.given()
    os.read(reader, 1)
    watcher.read_until(b"line 100\n")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    watcher.read_all()  # nobody acknowledges, and nobody is there who could: the client is not kept waiting
    assert watcher.streams()[1] == b"".join(b"line %d\n" % n for n in range(1, 100_001))
    engine = Engine(host, launch=False)
    state = state_of(engine, "c1")
    assert state["exit"]["code"] == 42
    assert state["exit"]["unknown"] is False
    assert numbers(host, "c1") == list(range(1, 100_001))
    engine.ask("ack", {"id": "c1"})
    engine.close()
    os.close(reader)
    os.close(writer)


def test_next_engine_gets_the_descriptors_and_the_exit(host: Host) -> None:
    first = Engine(host)
    first.start("c1", "sh", "-c", "read x; echo got $x; exit 6", open_stdin=True, stdin_once=False)
    first.run_exec("c1", "e1", "sleep", "100")
    first.close()
    second = Engine(host, launch=False)
    state = state_of(second, "c1")
    assert "exit" not in state
    assert state["pid"] > 0
    wait_for(lambda: second.pump(0.05) or len(second.handed) == 2)
    assert set(second.handed["c1", ""]) == {"pidfd", "stdin", "stdout", "stderr"}
    assert [state["exec_id"] for state in second.hello["execs"]] == ["e1"]
    os.write(second.handed["c1", ""]["stdin"], b"word\n")
    second.event("exited", "c1", "e1")
    assert second.end("c1")["code"] == 6
    assert [text for _, _, text, _ in Reader(host.log("c1")).read()] == [b"got word\n"]
    second.close()


def test_what_ran_out_of_memory_meanwhile_is_known_to_the_next_engine_and_the_next_shim(host: Host) -> None:
    hog, small = "dd if=/dev/zero of=/dev/null bs=200M", {"memory": {"limit": 16 << 20, "swap": 16 << 20}}
    script = f"read x; {hog}; {hog}; echo twice; read x; {hog}; sleep 100"
    first = Engine(host)
    first.start("c1", "sh", "-c", script, resources=small, open_stdin=True)
    first.close()
    second = Engine(host, launch=False)
    wait_for(lambda: second.pump(0.05) or ("c1", "") in second.handed)
    stdin = os.dup(second.handed["c1", ""]["stdin"])
    second.close()
    os.write(stdin, b"go\n")
    wait_for(lambda: b"twice" in Path(host.log("c1")).read_bytes())
    third = Engine(host, launch=False)
    if state_of(third, "c1")["oom_kills"] < 2:  # the shim looks again in a moment
        assert third.event("oom", "c1")["oom_kills"] == 2
    third.close()
    kill_shim(host)
    fourth = Engine(host)
    for state in client.saved_states(host.exec_root):
        fourth.ask("adopt", {"state": state})
    assert fourth.event("oom", "c1")["oom_kills"] == 2, "the kernel has kept the count"
    os.write(stdin, b"go\n")
    assert fourth.event("oom", "c1")["oom_kills"] == 3, "and tells the new shim, too"
    fourth.ask("kill", {"id": "c1", "signal": 9})
    assert fourth.end("c1")["oom_kills"] == 3
    os.close(stdin)
    fourth.close()


def test_engine_dies_between_asking_and_the_answer(host: Host) -> None:
    first = Engine(host)
    first.send("start", first.start_request("c1", "sh", "-c", "sleep 0.3; exit 9"))
    first.send("start", first.start_request("c2", "nope"))
    first.connection.flush()
    first.close()
    second = Engine(host, launch=False)
    assert second.end("c1")["code"] == 9
    # c2 failed: told as an event if hello had shown it, else unknown to the shim.
    if any(state["id"] == "c2" for state in second.hello["containers"]):
        event = second.event("exited", "c2")
        assert (event["code"], event["error"]["kind"]) == (127, "CommandNotFound")
    assert not Engine(host, launch=False).hello["containers"]


def test_execs_are_adopted_too(host: Host) -> None:
    engine = Engine(host)
    container = engine.start("c1", "sleep", "100")
    running = engine.run_exec("c1", "e1", "sh", "-c", "while ! [ -e /tmp/go ]; do sleep 0.05; done; exit 17")
    kill_shim(host)
    successor = Engine(host)
    held = {"c1": container["fds"], "e1": running["fds"]}
    for state in client.saved_states(host.exec_root):
        fds = held[state.get("exec_id", "c1")]
        successor.ask("adopt", {"state": state, "roles": list(fds)}, list(fds.values()))
    (host.rootfs / "tmp/go").touch()
    event = successor.end("c1", "e1")
    assert (event["code"], event["unknown"]) == strangers(17)
    successor.run_exec("c1", "e2", "true")
    assert successor.end("c1", "e2")["code"] == 0
    successor.ask("kill", {"id": "c1", "signal": 9})
    assert successor.end("c1")["code"] == strangers(137)[0]


def test_newer_connection_wins(host: Host) -> None:
    first = Engine(host)
    second = Engine(host, launch=False)
    assert first.is_closed()
    second.start("c1", "true")
    second.end("c1")
    first.close()
    second.close()


def test_hello_must_come_first_and_speak_our_version(host: Host) -> None:
    Engine(host).close()
    connection = client.ShimConnection(client.connect(host.exec_root))
    connection.request("shutdown")
    connection.request("hello", {"version": 99})
    answers = []
    wait_for(lambda: answers.extend(connection.receive()) or len(answers) == 2)
    assert [message["error"]["kind"] for message, _ in answers] == ["Conflict", "NotSupported"]
    connection.close()


@pytest.mark.parametrize("terminal", [False, True])
def test_shim_killed_and_the_next_one_adopts(host: Host, terminal: bool) -> None:
    engine = Engine(host)
    answer = engine.start(
        "c1", "sh", "-c", "i=0; while read x; do i=$((i+1)); echo line $i; [ $x = e ] && exit 42; done",
        open_stdin=True, stdin_once=False, terminal=terminal,
    )  # fmt: skip
    stdin = answer["fds"]["console" if terminal else "stdin"]
    os.write(stdin, b"a\n")
    wait_for(lambda: numbers(host, "c1") == [1])
    kill_shim(host)
    os.write(stdin, b"b\nc\n")  # while nobody looks after it
    assert Path(f"/proc/{answer['pid']}").exists()
    engine.connection.close()
    successor = Engine(host)
    assert successor.hello["containers"] == []
    (state,) = client.saved_states(host.exec_root)
    roles = list(answer["fds"])
    adopted = successor.ask("adopt", {"state": state, "roles": roles}, [answer["fds"][role] for role in roles])
    assert adopted["pid"] == answer["pid"]
    os.write(stdin, b"d\n")
    wait_for(lambda: numbers(host, "c1") == [1, 2, 3, 4])
    os.write(stdin, b"e\n")
    event = successor.end("c1")
    assert (event["code"], event["unknown"]) == strangers(42)
    assert numbers(host, "c1") == [1, 2, 3, 4, 5]
    assert not client.saved_states(host.exec_root)
    successor.close()


def test_exit_while_no_shim_was_there_is_exact(host: Host) -> None:
    engine = Engine(host)
    answer = engine.start("c1", "sh", "-c", "read x; exit 33", open_stdin=True, stdin_once=False)
    kill_shim(host)
    os.write(answer["fds"]["stdin"], b"\n")
    wait_for(lambda: "State:\tZ" in _status(answer["pid"]) or not Path(f"/proc/{answer['pid']}").exists())
    successor = Engine(host)
    (state,) = client.saved_states(host.exec_root)
    roles = list(answer["fds"])
    successor.ask("adopt", {"state": state, "roles": roles}, [answer["fds"][role] for role in roles])
    event = successor.end("c1")
    assert (event["code"], event["unknown"]) == strangers(33)
    successor.close()
    engine.close()


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""


def test_engine_and_shim_dead_the_container_is_found_by_pid_and_start_time(host: Host) -> None:
    engine = Engine(host)
    script = "while ! [ -e /tmp/go ]; do sleep 0.05; done; exit 21"
    answer = engine.start("c1", "sh", "-c", script, resources={})
    kill_shim(host)
    engine.close()
    successor = Engine(host)
    (state,) = client.saved_states(host.exec_root)
    successor.ask("adopt", {"state": state})
    (host.rootfs / "tmp/go").touch()
    event = successor.end("c1")
    assert (event["code"], event["unknown"]) == strangers(21)
    assert answer["pid"] == state["pid"]
    successor.close()


def test_a_stranger_with_the_same_pid_is_not_taken_for_the_container(host: Host) -> None:
    engine = Engine(host)
    state = {
        "id": "c1", "pid": os.getpid(), "start_ticks": 1, "started_at": 1, "terminal": False, "open_stdin": False,
        "stdin_once": False, "cgroup": "", "private_pids": True, "log": None,
    }  # fmt: skip
    engine.ask("adopt", {"state": state})
    event = engine.end("c1")
    assert (event["code"], event["unknown"]) == (255, True)
    engine.close()


def test_sigterm_ends_an_idle_shim_only(host: Host) -> None:
    engine = Engine(host)
    pid = host.shim_pid()
    engine.start("c1", "sh", "-c", "sleep 100")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.kill(pid, number)
    time.sleep(0.2)
    engine.ask("kill", {"id": "c1", "signal": 9})
    assert engine.end("c1")["code"] == 137
    os.kill(pid, signal.SIGTERM)
    assert engine.is_closed()
    wait_for(lambda: not Path(host.exec_root, "shim.sock").exists())
    engine.close()


def test_shutdown_only_when_idle(host: Host) -> None:
    engine = Engine(host)
    engine.start("c1", "sleep", "100")
    with pytest.raises(RefusedError) as caught:
        engine.ask("shutdown")
    assert caught.value.kind == "Conflict"
    engine.ask("kill", {"id": "c1", "signal": 9})
    engine.end("c1")
    engine.ask("shutdown")
    wait_for(lambda: not Path(host.exec_root, "shim.sock").exists())
    engine.close()


def test_one_shim_per_exec_root(host: Host) -> None:
    pids = {client.launch(host.exec_root) for _ in range(3)}
    assert len(pids) == 1
    assert pids == {host.shim_pid()}


def test_cve_2020_15257_the_socket_is_out_of_a_containers_reach(host: Host) -> None:
    """No abstract address, mode 0600, and another uid is refused even with the socket in its hands."""
    engine = Engine(host)
    path = Path(host.exec_root, "shim.sock")
    mode = path.stat()
    assert stat.S_IMODE(mode.st_mode) == 0o600
    inode_lines = [line for line in Path("/proc/net/unix").read_text().splitlines() if "shim" in line]
    assert inode_lines
    assert not any(line.split()[-1].startswith("@") for line in inode_lines)
    # A container in the host's network namespace, as root of it, sees the same table and can reach nothing in it.
    engine.start("c1", "sh", "-c", "grep shim /proc/net/unix | grep -c @", namespaces=("pid", "ipc", "uts", "mount"))
    engine.end("c1")
    assert [text for _, _, text, _ in Reader(host.log("c1")).read()] == [b"0\n"]
    os.chmod(host.exec_root, 0o777)
    os.chmod(host.top, 0o777)
    os.chmod(path, 0o777)
    pid = os.fork()  # noqa: TID251
    if pid == 0:
        os.setuid(65534)  # noqa: TID251
        stranger = socket.socket(socket.AF_UNIX)
        stranger.connect(str(path))
        stranger.settimeout(5)
        os._exit(0 if stranger.recv(1) == b"" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    engine.close()


def test_nothing_is_imported_after_the_start(host: Host) -> None:
    """A shim whose package directory is gone still does everything: the engine may be upgraded under it."""
    engine = Engine(host)
    pid = host.shim_pid()
    mapped = {line.split()[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if ".so" in line}
    watcher = Client(stdin=True)
    engine.start("c1", "cat", clients=[watcher.descriptor], attach=[watcher.options], open_stdin=True, stdin_once=True)
    watcher.given()
    engine.run_exec("c1", "e1", "sh", terminal=True, open_stdin=True)
    with pytest.raises(RefusedError):
        engine.start("c2", "nope")
    engine.ask("kill", {"id": "c1", "signal": 9})
    engine.end("c1", "e1")
    engine.end("c1")
    watcher.close()
    after = {line.split()[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if ".so" in line}
    assert after == mapped
    log = Path(host.exec_root, "shim.log").read_text()
    assert "Traceback" not in log, log
    engine.close()
