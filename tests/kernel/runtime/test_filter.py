"""Seccomp: every action, arguments, flags, and the listener's way to its agent."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.conftest import Bundle

pytestmark = pytest.mark.root
RECEIVE, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, _SEND
SIGSYS = 31


def allow_but(bundle: Bundle, *rules: dict[str, Any], **more: Any) -> None:
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules), **more}


@pytest.mark.parametrize(
    ("action", "errno", "expected"),
    [
        ("SCMP_ACT_ERRNO", None, "Operation not permitted"),
        ("SCMP_ACT_ERRNO", 17, "File exists"),
        ("SCMP_ACT_TRACE", 9, "Function not implemented"),  # nobody traces
        ("SCMP_ACT_LOG", None, ""),
        ("SCMP_ACT_ALLOW", None, ""),
    ],
)
def test_actions_that_answer(bundle: Bundle, action: str, errno: int | None, expected: str) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": action}
    if errno is not None:
        rule["errnoRet"] = errno
    allow_but(bundle, rule)
    output = bundle.shell("mkdir /made")
    assert expected in output.stderr
    assert (bundle.rootfs / "made").exists() == (expected == "")


@pytest.mark.parametrize("action", ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"])
def test_actions_that_end_the_program(bundle: Bundle, action: str) -> None:
    allow_but(bundle, {"names": ["mkdir", "mkdirat"], "action": action})
    assert bundle.shell("mkdir /made; echo $?").stdout.split()[-1:] == [str(128 + SIGSYS)]
    assert not (bundle.rootfs / "made").exists()


def test_default_action_and_errno(bundle: Bundle) -> None:
    profile = bundle.linux["seccomp"]
    profile["syscalls"][0]["names"] = [n for n in profile["syscalls"][0]["names"] if n not in ("mkdir", "mkdirat")]
    profile["defaultErrnoRet"] = 38
    assert "Function not implemented" in bundle.shell("mkdir /made").stderr


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        ([{"index": 0, "value": 12345, "op": "SCMP_CMP_EQ"}], True),
        ([{"index": 0, "value": 12344, "op": "SCMP_CMP_GT"}], True),
        ([{"index": 0, "value": 12344, "op": "SCMP_CMP_EQ"}], False),
        ([{"index": 0, "value": 0xFF00, "valueTwo": 0x3000, "op": "SCMP_CMP_MASKED_EQ"}], True),
        ([{"index": 0, "value": 12345, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 15, "op": "SCMP_CMP_EQ"}], False),
        ([{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 12345, "op": "SCMP_CMP_EQ"}], True),
    ],
)
def test_arguments(bundle: Bundle, arguments: list[dict[str, Any]], refused: bool) -> None:
    """kill(12345, 0): no such process, unless the filter says something else."""
    allow_but(bundle, {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 17, "args": arguments})
    assert ("File exists" in bundle.shell("kill -0 12345").stderr) == refused


@pytest.mark.parametrize("flag", ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"])
@pytest.mark.parametrize("command", ["run", "exec"])
def test_flags(bundle: Bundle, flag: str, command: str) -> None:
    allow_but(bundle, {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}, flags=[f"SECCOMP_FILTER_FLAG_{flag}"])
    script = ("sh", "-c", "mkdir /made; grep Seccomp: /proc/self/status")
    output = bundle.run(*script) if command == "run" else bundle.exec(bundle.start(), *script)
    assert output.stdout.split() == ["Seccomp:", "2"]
    assert not (bundle.rootfs / "made").exists()


@pytest.mark.parametrize(
    ("profile", "text"),
    [
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "cannot be used as default action"),
        ({"syscalls": [{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}], "listenerPath": "/x"}, "write syscall"),
        ({"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}, "needs a listenerPath"),
        ({"listenerMetadata": "x"}, "listenerMetadata needs a listenerPath"),
        ({"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 5}]}, "takes no errno"),
        ({"syscalls": [{"names": [], "action": "SCMP_ACT_KILL"}]}, "at least one call"),
        ({"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_MAYBE"}]}, "action SCMP_ACT_MAYBE is not supported"),
        ({"architectures": ["SCMP_ARCH_Z80"]}, "architecture SCMP_ARCH_Z80 is not supported"),
        ({"flags": ["SECCOMP_FILTER_FLAG_X"]}, "flag SECCOMP_FILTER_FLAG_X is not supported"),
    ],
)
def test_what_cannot_be_filtered_is_refused_by_name(bundle: Bundle, profile: dict[str, Any], text: str) -> None:
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", **profile}
    output = bundle.run("true")
    assert output.returncode == 1
    assert f"linux.seccomp: {text}" in output.stderr or text in output.stderr


class Agent:
    """Takes listeners at a socket and answers every call handed to them with ENOMEDIUM (123)."""

    def __init__(self, path: Path) -> None:
        self.states: list[dict[str, Any]] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                data, fds, _, _ = socket.recv_fds(connection, 65536, 4)
                while chunk := connection.recv(65536):
                    data += chunk
            self.states.append(json.loads(data))
            threading.Thread(target=self._answer, args=(fds[0],), daemon=True).start()

    @staticmethod
    def _answer(fd: int) -> None:
        while True:
            call = bytearray(80)
            try:
                fcntl.ioctl(fd, RECEIVE, call)
                (identifier,) = struct.unpack_from("=Q", call)
                fcntl.ioctl(fd, SEND, bytearray(struct.pack("=QqiI", identifier, 0, -123, 0)))
            except OSError:
                os.close(fd)
                return


@pytest.mark.parametrize("privileges", [True, False])
def test_notify_hands_the_listener_to_the_agent(bundle: Bundle, tmp_path: Path, privileges: bool) -> None:
    agent = Agent(tmp_path / "agent")
    bundle.process["noNewPrivileges"] = privileges
    bundle.spec["annotations"] = {"a": "b"}
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}
    allow_but(
        bundle, rule, listenerPath=str(tmp_path / "agent"), listenerMetadata="opaque",
        flags=["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
    )  # fmt: skip
    identifier = bundle.start()
    pid = bundle.state(identifier)["pid"]
    assert "No medium found" in bundle.exec(identifier, "mkdir", "/made").stderr
    agent.close()
    first, second = agent.states
    assert first["fds"] == second["fds"] == ["seccompFd"]
    assert first["metadata"] == "opaque"
    assert (first["pid"], first["state"]["pid"], first["state"]["status"]) == (pid, pid, "creating")
    assert first["state"] | {"id": identifier, "annotations": {"a": "b"}} == first["state"]
    assert second["pid"] != pid
    assert second["state"]["pid"] == pid


def test_notify_without_an_agent_ends_the_create(bundle: Bundle, tmp_path: Path) -> None:
    allow_but(bundle, {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}, listenerPath=str(tmp_path / "nobody"))
    output = bundle.run("true")
    assert output.returncode == 1
    assert f"socket {tmp_path}/nobody: no such file or directory" in output.stderr
    assert bundle.call("list", "-q").stdout == ""
