"""Containers under the shim: output, input, terminals, execs, exits."""

from __future__ import annotations

import json
import os
import resource
import socket
import threading
import time
from pathlib import Path

import pytest

from corten.logs.reader import Reader
from tests.kernel.shim.stage import Client, Engine, RefusedError, wait_for

pytestmark = pytest.mark.root

SMALL = {"memory": {"limit": 16 << 20, "swap": 16 << 20}}
HOG = "dd if=/dev/zero of=/dev/null bs=200M"


def logged(engine: Engine, container: str, stream: str = "stdout") -> bytes:
    return b"".join(text for name, _, text, _ in Reader(engine.host.log(container)).read() if name == stream)


def attach(engine: Engine, container: str, exec_id: str = "", **options: object) -> Client:
    client = Client(**options)
    fields = {"id": container, "exec_id": exec_id, "roles": ["client"], **client.options}
    engine.ask("attach", fields, [client.descriptor])
    client.given()
    return client


def test_output_is_complete_and_in_order_and_the_exit_code_is_its_own(engine: Engine) -> None:
    started = engine.start("c1", "sh", "-c", "seq 1000000; echo oops >&2; exit 7")
    assert Path(f"/proc/{started['pid']}").exists()
    event = engine.event("exited", "c1")
    assert (event["code"], event["signal"], event["unknown"], event["oom_kills"]) == (7, 0, False, 0)
    assert logged(engine, "c1") == b"".join(b"%d\n" % n for n in range(1, 1_000_001))
    assert logged(engine, "c1", "stderr") == b"oops\n"
    with open(engine.host.log("c1"), "rb") as file:
        first = json.loads(file.readline())
    assert list(first) == ["log", "stream", "time"]
    engine.ask("ack", {"id": "c1"})
    assert Engine(engine.host, launch=False).hello["containers"] == []


def test_attached_before_the_start_nothing_is_lost(engine: Engine) -> None:
    clients = [Client(), Client(framed=False), Client(stdout=False)]
    engine.start(
        "c1", "sh", "-c", "seq 200000; echo err >&2",
        clients=[client.descriptor for client in clients], attach=[client.options for client in clients],
    )  # fmt: skip
    for client in clients:
        client.given()
    expected = b"".join(b"%d\n" % n for n in range(1, 200_001))
    for client in clients[:2]:
        client.read_until(b"err\n")
    engine.end("c1")
    for client in clients:
        client.read_all()
    assert clients[0].streams() == {1: expected, 2: b"err\n"}
    assert sorted(clients[1].data.split(b"\n")) == sorted((expected + b"err\n").split(b"\n"))
    assert clients[2].streams() == {1: b"", 2: b"err\n"}


def test_end_of_file_comes_after_the_acknowledgement(engine: Engine) -> None:
    client = Client()
    engine.start("c1", "echo", "x", clients=[client.descriptor], attach=[client.options])
    client.given()
    engine.event("exited", "c1")
    client.read_until(b"x\n")
    client.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.socket.recv(1)
    engine.ask("ack", {"id": "c1"})
    client.socket.settimeout(5)
    assert client.socket.recv(1) == b""


def test_end_of_file_comes_also_when_nobody_acknowledges(engine: Engine) -> None:
    client = Client()
    engine.start("c1", "echo", "x", clients=[client.descriptor], attach=[client.options])
    client.given()
    engine.event("exited", "c1")
    begin = time.monotonic()
    client.read_all()
    assert 1 < time.monotonic() - begin < 4
    engine.ask("ack", {"id": "c1"})


def test_half_closed_stdin_ends_cat_and_all_comes_back(engine: Engine) -> None:
    client = Client(stdin=True, prefix="ZWFybHkK")
    engine.start(
        "c1", "cat", clients=[client.descriptor], attach=[client.options], open_stdin=True, stdin_once=True
    )  # fmt: skip
    client.given()
    data = os.urandom(300_000).hex().encode() + b"\n"
    client.socket.settimeout(None)
    sender = threading.Thread(target=lambda: (client.socket.sendall(data), client.socket.shutdown(socket.SHUT_WR)))
    sender.start()
    client.read_until(data[-100:])
    sender.join()
    event = engine.end("c1")
    assert event["code"] == 0
    client.read_all()
    assert client.streams()[1] == b"early\n" + data


def test_stdin_kept_open_survives_its_client(engine: Engine) -> None:
    answer = engine.start("c1", "cat", open_stdin=True, stdin_once=False)
    assert set(answer["fds"]) == {"pidfd", "stdin", "stdout", "stderr"}
    first = attach(engine, "c1", stdin=True)
    first.socket.sendall(b"one\n")
    first.read_until(b"one\n")
    first.close()
    second = attach(engine, "c1", stdin=True)
    second.socket.sendall(b"two\n")
    second.read_until(b"two\n")
    engine.ask("kill", {"id": "c1", "signal": 9})
    event = engine.end("c1")
    assert (event["code"], event["signal"]) == (137, 9)
    second.read_all()


def test_terminal_size_detach_keys_and_echo(engine: Engine) -> None:
    client = Client(stdin=True, detach_keys=[16, 17])
    answer = engine.start(
        "c1", "sh", clients=[client.descriptor], attach=[client.options], open_stdin=True, stdin_once=True,
        terminal=True, process={"consoleSize": {"height": 24, "width": 80}},
    )  # fmt: skip
    client.given()
    assert set(answer["fds"]) == {"pidfd", "console"}
    client.socket.sendall(b"stty size\n")
    client.read_until(b"24 80")
    engine.ask("resize", {"id": "c1", "height": 40, "width": 132})
    client.socket.sendall(b"stty size\n")
    client.read_until(b"40 132")
    client.socket.sendall(b"\x10\x11")
    client.read_all()
    engine.event("detached", "c1")
    again = attach(engine, "c1", stdin=True)
    again.socket.sendall(b"echo back $((1+1)); exit 5\n")
    again.read_until(b"back 2")
    assert engine.end("c1")["code"] == 5
    again.read_all()
    assert b"24 80" in logged(engine, "c1")


def test_exec_codes_streams_and_terminal(engine: Engine) -> None:
    engine.start("c1", "sleep", "100")
    client = Client()
    engine.run_exec("c1", "e1", "sh", "-c", "echo out; echo err >&2; exit 3",
                    clients=[client.descriptor], attach=[client.options])  # fmt: skip
    client.given()
    assert engine.end("c1", "e1")["code"] == 3
    client.read_all()
    assert client.streams() == {1: b"out\n", 2: b"err\n"}

    cat = Client(stdin=True)
    engine.run_exec("c1", "e2", "cat", clients=[cat.descriptor], attach=[cat.options], open_stdin=True)
    cat.given()
    cat.socket.sendall(b"hello")
    cat.socket.shutdown(socket.SHUT_WR)
    assert engine.end("c1", "e2")["code"] == 0
    cat.read_all()
    assert cat.streams()[1] == b"hello"

    tty = Client(stdin=True)
    engine.run_exec("c1", "e3", "sh", clients=[tty.descriptor], attach=[tty.options], open_stdin=True, terminal=True)
    tty.given()
    engine.ask("resize", {"id": "c1", "exec_id": "e3", "height": 11, "width": 22})
    tty.socket.sendall(b"stty size\n")
    tty.read_until(b"11 22")
    engine.ask("kill", {"id": "c1", "exec_id": "e3", "signal": 9})
    assert engine.end("c1", "e3")["code"] == 137

    engine.run_exec("c1", "e4", "sleep", "100", detach=True)
    assert len(engine.ask("pids", {"id": "c1"})["pids"]) == 2
    assert logged(engine, "c1") == b""  # execs are not logged
    engine.ask("kill", {"id": "c1", "signal": 9})
    assert engine.end("c1", "e4")["code"] == 137
    assert engine.end("c1")["code"] == 137


def test_missing_program_is_told_and_leaves_nothing(engine: Engine) -> None:
    client = Client()
    with pytest.raises(RefusedError, match=r'exec: "nope": executable file not found in \$PATH') as caught:
        engine.start("c1", "nope", clients=[client.descriptor], attach=[client.options])
    assert caught.value.kind == "CommandNotFound"
    with socket.socket(fileno=os.dup(client.descriptor)) as kept:  # the engine's copy still works in both directions
        kept.sendall(b"the reason")
    client.given()
    assert client.read_all() == b"the reason"
    engine.start("c2", "sleep", "100")
    with pytest.raises(RefusedError) as caught:
        engine.run_exec("c2", "e1", "/tmp")
    assert caught.value.kind == "CommandNotInvocable"
    engine.ask("kill", {"id": "c2", "signal": 9})
    engine.end("c2")
    hierarchy = Path("/sys/fs/cgroup")
    wait_for(lambda: not list(hierarchy.glob(f"*{engine.host.cgroup}/c1")))
    assert not os.listdir(f"{engine.host.exec_root}/shim")


def test_requests_for_nobody_are_refused(engine: Engine) -> None:
    for request, fields in (
        ("kill", {"id": "x", "signal": 9}),
        ("attach", {"id": "x"}),
        ("ack", {"id": "x"}),
        ("exec", {"id": "x", "exec_id": "e", "process": {}}),
    ):
        with pytest.raises(RefusedError) as caught:
            engine.ask(request, fields)
        assert caught.value.kind == "NotFound"
    with pytest.raises(RefusedError) as caught:
        engine.ask("dance")
    assert caught.value.kind == "NotSupported"
    with pytest.raises(RefusedError):
        engine.start("../x", "true")


def test_a_program_starts_with_clean_signals_and_descriptors(engine: Engine) -> None:
    engine.start("c1", "sh", "-c", "grep -E 'Sig(Blk|Ign)' /proc/self/status; ls -l /proc/self/fd; ulimit -n")
    engine.end("c1")
    lines = logged(engine, "c1").decode().splitlines()
    assert lines[-1] == str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    internal = 3 << 31  # 32 and 33, glibc's own; whoever started the tests may have them ignored
    assert [int(line.split()[1], 16) & ~internal for line in lines[:2]] == [0, 0]
    assert sorted(line.split()[8] for line in lines if "->" in line) in (["0", "1", "2"], ["0", "1", "2", "3"])  # ls's


def test_host_pid_namespace_leaves_no_process(engine: Engine) -> None:
    answer = engine.start(
        "c1", "sh", "-c", "sleep 1000 & echo started; exit 4", namespaces=("network", "ipc", "uts", "mount")
    )
    begin = time.monotonic()
    assert engine.end("c1")["code"] == 4
    assert time.monotonic() - begin < 1.5
    assert not Path(f"/proc/{answer['pid']}").exists()
    wait_for(lambda: not list(Path("/sys/fs/cgroup").glob(f"*{engine.host.cgroup}/c1")))


def test_out_of_memory_is_reported(engine: Engine) -> None:
    engine.start("c1", resources=SMALL, process={"args": ["dd", "if=/dev/zero", "of=/dev/null", "bs=200M"]})
    told = engine.event("oom", "c1")
    event = engine.end("c1")
    assert event["oom_kills"] == told["oom_kills"] >= 1
    assert event["code"] == 137


def test_out_of_memory_is_told_while_the_container_lives_on(engine: Engine) -> None:
    """Each kill is told when it happens, also of an exec, and the sum again with the exit."""
    engine.start("c1", "sh", "-c", f"{HOG}; sleep 100", resources=SMALL)
    assert engine.event("oom", "c1")["oom_kills"] == 1
    engine.run_exec("c1", "e1", "sh", "-c", f"{HOG}; exit 4")
    assert engine.event("oom", "c1")["oom_kills"] == 2
    assert engine.end("c1", "e1")["code"] == 4
    engine.ask("kill", {"id": "c1", "signal": 9})
    assert engine.end("c1")["oom_kills"] == 2


def test_only_who_had_no_memory_is_told_of(engine: Engine) -> None:
    """v1 tells every group below the one whose memory has run out."""
    engine.start("calm", "sleep", "100", resources=SMALL)
    engine.start("c1", "sh", "-c", f"{HOG}; sleep 100", resources=SMALL)
    assert engine.event("oom", "c1")["oom_kills"] == 1
    for container in ("calm", "c1"):
        engine.ask("kill", {"id": container, "signal": 9})
    assert (engine.end("calm")["oom_kills"], engine.end("c1")["oom_kills"]) == (0, 1)


def test_twenty_at_once_and_nothing_leaks(engine: Engine) -> None:
    shim = engine.host.shim_pid()
    engine.start("warm", "true")
    engine.end("warm")

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{shim}/fd"))

    def settled() -> bool:
        return descriptors() == before

    time.sleep(0.2)
    before = descriptors()
    for batch in range(3):
        names = [f"c{batch}x{number}" for number in range(20)]
        sent = {
            name: engine.send("start", engine.start_request(name, "sh", "-c", f"echo {name}; exit 9")) for name in names
        }
        for name in names:
            engine.answer(sent[name])
        for name in names:
            assert engine.end(name)["code"] == 9
            assert logged(engine, name) == f"{name}\n".encode()
    wait_for(settled, 5)
    children = Path(f"/proc/{shim}/task/{shim}/children").read_text().split()
    assert children == []


def test_a_flood_does_not_starve_the_others(engine: Engine) -> None:
    engine.start("flood", "yes", max_size=1_000_000)
    begin = time.monotonic()
    for number in range(10):
        engine.start(f"c{number}", "echo", "hi")
        engine.end(f"c{number}")
    assert time.monotonic() - begin < 10
    engine.ask("kill", {"id": "flood", "signal": 9})
    engine.end("flood")


def test_background_holder_of_an_execs_output_delays_two_seconds_at_most(engine: Engine) -> None:
    engine.start("c1", "sleep", "100")
    begin = time.monotonic()
    engine.run_exec("c1", "e1", "sh", "-c", "echo x; sleep 50 &")
    assert engine.end("c1", "e1")["code"] == 0
    assert 1.5 < time.monotonic() - begin < 5
    engine.ask("kill", {"id": "c1", "signal": 9})
    engine.end("c1")


def test_log_reopen_follows_a_moved_file(engine: Engine) -> None:
    engine.start("c1", "cat", open_stdin=True)
    client = attach(engine, "c1", stdin=True)
    client.socket.sendall(b"old\n")
    client.read_until(b"old\n")
    os.rename(engine.host.log("c1"), engine.host.log("c1") + ".moved")
    engine.ask("log_reopen", {"id": "c1"})
    client.socket.sendall(b"new\n")
    client.read_until(b"new\n")
    assert logged(engine, "c1") == b"new\n"
    engine.ask("kill", {"id": "c1", "signal": 9})
    engine.end("c1")
    client.close()


def test_markup_and_control_characters_are_escaped_as_dockers(engine: Engine) -> None:
    engine.start("c1", "sh", "-c", "echo 'a<b>&\"c'; echo -e 'tab\\there'")
    engine.end("c1")
    raw = Path(engine.host.log("c1")).read_bytes().splitlines()
    assert raw[0].startswith(b'{"log":"a\\u003cb\\u003e\\u0026\\"c\\n","stream":"stdout","time":"')
    assert raw[1].startswith(b'{"log":"tab\\u0009here\\n"')
