"""An engine as the shim sees it: one connection, requests answered in order of asking, events kept."""

from __future__ import annotations

import os
import secrets
import select
import shutil
import signal
import socket
import struct
import tempfile
import time
from pathlib import Path
from typing import Any

from corten.cgroup.group import Group
from corten.cgroup.hierarchy import detect
from corten.shim import client, protocol

PATIENCE = 20.0
OPEN: list[Any] = []  # engines and clients of the running test


def close_all() -> None:
    while OPEN:
        OPEN.pop().close()


class RefusedError(Exception):
    """The shim answered with an error."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Host:
    """The exec root, a busybox root file system, a cgroup parent: what outlives engines and shims."""

    def __init__(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="corten-shimtest-"))
        self.exec_root = str(self.top / "run")
        os.mkdir(self.exec_root, 0o700)
        self.logs = self.top / "logs"
        self.logs.mkdir()
        self.rootfs = self.top / "rootfs"
        for name in ("bin", "proc", "dev", "sys", "tmp", "etc"):
            (self.rootfs / name).mkdir(parents=True)
        (self.rootfs / "tmp").chmod(0o1777)
        shutil.copy("/usr/bin/busybox", self.rootfs / "bin/busybox")
        for applet in (
            "sh",
            "cat",
            "seq",
            "sleep",
            "stty",
            "true",
            "false",
            "echo",
            "head",
            "grep",
            "ls",
            "kill",
            "dd",
            "yes",
        ):
            (self.rootfs / "bin" / applet).symlink_to("busybox")
        self.cgroup = f"/corten-test{secrets.token_hex(3)}"

    def shim_pid(self) -> int:
        return int(Path(self.exec_root, protocol.PID_FILE).read_text() or 0)

    def log(self, container: str) -> str:
        return str(self.logs / f"{container}-json.log")

    def close(self) -> None:
        pid = self.shim_pid() if Path(self.exec_root, protocol.PID_FILE).exists() else 0
        if pid:
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid))
        group = Group(detect(), self.cgroup)
        group.kill()
        wait_for(lambda: not group.pids())
        group.delete()
        shutil.rmtree(self.top)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_for(condition: Any, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


class Engine:
    """A connection; ``events`` and ``handed`` fill as frames arrive."""

    def __init__(self, host: Host, *, launch: bool = True) -> None:
        OPEN.append(self)
        self.host = host
        if launch:
            client.launch(host.exec_root)
        self.connection = client.ShimConnection(client.connect(host.exec_root))
        self.answers: dict[int, tuple[dict[str, Any], list[int]]] = {}
        self.events: list[dict[str, Any]] = []
        self.handed: dict[tuple[str, str], dict[str, int]] = {}
        self.fds: list[int] = []
        self.hello = self.ask("hello", {"version": protocol.VERSION})

    # -- wire

    def pump(self, seconds: float) -> None:
        self.connection.flush()
        if not select.select([self.connection], [], [], max(0.0, seconds))[0]:
            return
        for message, fds in self.connection.receive():
            self.fds += fds
            if "seq" in message:
                self.answers[message["seq"]] = (message, fds)
            elif "handover" in message:
                self.handed[message["handover"], message.get("exec_id", "")] = dict(
                    zip(message["roles"], fds, strict=True)
                )
            else:
                self.events.append(message)

    def send(self, name: str, fields: dict[str, Any] | None = None, fds: list[int] | None = None) -> int:
        return self.connection.request(name, fields, fds or [])

    def answer(self, number: int) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while number not in self.answers:
            assert time.monotonic() < deadline, "no answer"
            self.pump(deadline - time.monotonic())
        message, fds = self.answers.pop(number)
        if "error" in message:
            raise RefusedError(message["error"]["kind"], message["error"]["text"])
        ok = message["ok"]
        if "roles" in ok:
            ok["fds"] = dict(zip(ok["roles"], fds, strict=True))
        return ok

    def ask(self, name: str, fields: dict[str, Any] | None = None, fds: list[int] | None = None) -> dict[str, Any]:
        return self.answer(self.send(name, fields, fds))

    def event(self, name: str, container: str, exec_id: str = "", seconds: float = PATIENCE) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            for event in self.events:
                if (event["event"], event["id"], event.get("exec_id", "")) == (name, container, exec_id):
                    self.events.remove(event)
                    return event
            assert time.monotonic() < deadline, f"no {name} of {container} {exec_id}"
            self.pump(deadline - time.monotonic())

    def is_closed(self) -> bool:
        """Whether the shim closes the connection soon."""
        deadline = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < deadline:
                self.pump(0.1)
        except ConnectionError:
            return True
        return False

    def close(self) -> None:
        self.connection.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    # -- containers

    def start_request(self, container: str, *command: str, **options: Any) -> dict[str, Any]:
        namespaces = ("pid", "network", "ipc", "uts", "mount")
        spec = {
            "ociVersion": "1.0.2",
            "root": {"path": str(self.host.rootfs)},
            "hostname": container[:12],
            "process": {
                "args": list(command),
                "cwd": "/",
                "env": ["PATH=/bin", "TERM=xterm"],
                "user": {"uid": 0, "gid": 0},
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                {
                    "destination": "/dev/pts",
                    "type": "devpts",
                    "source": "devpts",
                    "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
                },
            ],
            "linux": {"namespaces": [{"type": kind} for kind in options.pop("namespaces", namespaces)]},
        }
        spec["process"].update(options.pop("process", {}))
        return {
            "id": container,
            "spec": spec,
            "rootfs": [],
            "cgroup": {"path": f"{self.host.cgroup}/{container}", "resources": options.pop("resources", {})},
            "log": {
                "driver": "json-file",
                "path": self.host.log(container),
                "max_size": options.pop("max_size", 0),
                "max_file": options.pop("max_file", 1),
            },
            **options,
        }

    def start(self, container: str, *command: str, clients: list[int] | None = None, **options: Any) -> dict[str, Any]:
        clients = clients or []
        request = self.start_request(container, *command, **options)
        request["roles"] = ["attach"] * len(clients)
        return self.ask("start", request, clients)

    def run_exec(
        self, container: str, exec_id: str, *command: str, clients: list[int] | None = None, **options: Any
    ) -> dict:
        clients = clients or []
        process = {"args": list(command), "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
        process.update(options.pop("process", {}))
        request = {
            "id": container,
            "exec_id": exec_id,
            "process": process,
            "roles": ["attach"] * len(clients),
            **options,
        }
        return self.ask("exec", request, clients)

    def end(self, container: str, exec_id: str = "") -> dict[str, Any]:
        event = self.event("exited", container, exec_id)
        self.ask("ack", {"id": container, **({"exec_id": exec_id} if exec_id else {})})
        return event


class Client:
    """An attached client: the test's end of a socket pair whose other end goes to the shim."""

    def __init__(self, **options: Any) -> None:
        OPEN.append(self)
        ours, theirs = socket.socketpair()
        self.socket, self.descriptor = ours, theirs.detach()
        self.options = {"stdin": False, "stdout": True, "stderr": True, "framed": True, **options}
        self.data = b""
        ours.settimeout(PATIENCE)

    def given(self) -> None:
        """The shim has its copy."""
        os.close(self.descriptor)

    def read_until(self, text: bytes) -> bytes:
        while text not in self.data:
            chunk = self.socket.recv(1 << 20)
            assert chunk, f"ended before {text!r}: {self.data[-200:]!r}"
            self.data += chunk
        return self.data

    def read_all(self) -> bytes:
        while chunk := self.socket.recv(1 << 20):
            self.data += chunk
        return self.data

    def streams(self) -> dict[int, bytes]:
        found = {1: b"", 2: b""}
        data = self.data
        while data:
            stream, length = struct.unpack_from("!BxxxI", data)
            assert len(data) >= 8 + length, "cut in the middle of a frame"
            found[stream] += data[8 : 8 + length]
            data = data[8 + length :]
        return found

    def close(self) -> None:
        self.socket.close()
