"""systemd's names and properties for a container's cgroup, and D-Bus as it travels."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from corten.cgroup import dbus, scope
from corten.errors import InvalidArgument, RuntimeFailure, Unavailable

TARGET = ("a.b", "/a", "a.b.I", "Do")


@pytest.mark.parametrize(
    ("text", "unit", "path"),
    [
        ("machine.slice:libpod:abc", "libpod-abc.scope", "/machine.slice/libpod-abc.scope"),
        ("a-b-c.slice::x", "x.scope", "/a.slice/a-b.slice/a-b-c.slice/x.scope"),
        ("-.slice:p:x", "p-x.scope", "/p-x.scope"),
        (":p:x", "p-x.scope", "/system.slice/p-x.scope"),
        ("", "corten-id.scope", "/system.slice/corten-id.scope"),
    ],
)
def test_names(text: str, unit: str, path: str) -> None:
    found = scope.parse(text, "id")
    assert (found.unit, found.path) == (unit, path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("/foo", 'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/foo" instead'),
        ("a:b:c:d", "expected cgroupsPath"),
        ("a:b:c", "invalid slice name: a"),
        ("a--b.slice:b:c", "invalid slice name: a--b.slice"),
        ("../a.slice:b:c", "invalid slice name: ../a.slice"),
        ("a.slice:b:../c", "cannot be the name of a scope"),
        ("a.slice:b/..:c", "cannot be the name of a scope"),
        ("a.slice:b:", "cannot be the name of a scope"),
        ("a.slice:b:c.slice", "cannot be the name of a scope"),
    ],
)
def test_names_that_are_none(text: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        scope.parse(text, "id")
    assert why in str(caught.value)


RESOURCES = {
    "memory": {"limit": 1000, "reservation": 500, "swap": 3000},
    "cpu": {"shares": 1024, "quota": 12345, "period": 100000, "cpus": "0,2-3,9", "mems": "0"},
    "pids": {"limit": -1},
    "blockIO": {"weight": 500},
}


def test_limits_of_version_2() -> None:
    found = dict(scope.properties(RESOURCES, 2))
    assert found == {
        "MemoryMax": ("t", 1000),
        "MemoryLow": ("t", 500),
        "MemorySwapMax": ("t", 2000),
        "CPUWeight": ("t", 39),
        "CPUQuotaPerSecUSec": ("t", 130000),
        "CPUQuotaPeriodUSec": ("t", 100000),
        "IOWeight": ("t", 4950),
        "TasksMax": ("t", 2**64 - 1),
        "AllowedCPUs": ("ay", b"\x0d\x02"),
        "AllowedMemoryNodes": ("ay", b"\x01"),
    }


def test_limits_of_version_1() -> None:
    found = dict(scope.properties(RESOURCES, 1))
    assert found == {
        "MemoryLimit": ("t", 1000),
        "CPUShares": ("t", 1024),
        "CPUQuotaPerSecUSec": ("t", 130000),
        "CPUQuotaPeriodUSec": ("t", 100000),
        "BlockIOWeight": ("t", 500),
        "TasksMax": ("t", 2**64 - 1),
    }
    assert scope.properties({}, 1) == scope.properties({}, 2) == []


@pytest.mark.parametrize(("limit", "swap", "found"), [(10, 10, 0), (10, -1, 2**64 - 1), (-1, -1, 2**64 - 1)])
def test_swap(limit: int, swap: int, found: int) -> None:
    assert dict(scope.properties({"memory": {"limit": limit, "swap": swap}}, 2))["MemorySwapMax"] == ("t", found)


@pytest.mark.parametrize(
    ("kind", "value", "data"),
    [
        ("y", 7, "07"),
        ("b", True, "01000000"),
        ("u", 258, "02010000"),
        ("t", 1, "0100000000000000"),
        ("s", "ab", "02000000 6162 00"),
        ("g", "as", "02 6173 00"),
        ("v", ("u", 5), "01 75 00 00 05000000"),
        ("ay", b"\x01\x02", "02000000 0102"),
        ("at", [], "00000000 00000000"),  # padded for an element that is not there
        ("at", [1], "08000000 00000000 0100000000000000"),
        ("a(ys)", [(1, "a"), (2, "")], "19000000 00000000 01 000000 01000000 61 00 000000000000 02 000000 00000000 00"),
    ],
)
def test_values_as_the_specification_has_them(kind: str, value: Any, data: str) -> None:
    written = bytearray()
    dbus.put(written, kind, value)
    assert written.hex() == data.replace(" ", "")
    read = dbus.Reader(bytes(written), "<").take(kind)
    assert read == (value[1] if kind == "v" else list(value) if kind == "ay" else value)


def test_signatures_are_split_into_types() -> None:
    assert dbus.split("ssa(sv)a(sa(sv))u") == ["s", "s", "a(sv)", "a(sa(sv))", "u"]


def reply(serial: int, kind: int, body: str = "", error: str = "", order: str = "<") -> bytes:
    """A message of a peer."""
    content = bytearray()
    if body:
        content += struct.pack(f"{order}I", len(body)) + body.encode() + b"\0"
    fields: list[tuple[int, tuple[str, Any]]] = [(5, ("u", serial))]
    fields += [(4, ("s", error))] if error else []
    fields += [(8, ("g", "s"))] if body else []
    data = bytearray(b"l" + bytes((kind, 0, 1)) + struct.pack("<II", len(content), 99))
    dbus.put(data, "a(yv)", fields)
    return bytes(data + bytes(-len(data) % 8) + content)


@pytest.fixture
def peer(tmp_path: Path) -> Any:
    """Somebody who answers one connection with the given bytes, and keeps what came."""
    path = str(tmp_path / "bus")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    heard: list[bytes] = []
    threads = []

    def serve(greeting: bytes, answers: bytes) -> None:
        connection, _ = listener.accept()
        with connection:
            line = b""
            while b"BEGIN\r\n" not in line:
                line += connection.recv(4096)
            heard.append(line)
            connection.sendall(greeting)
            with suppress(OSError):  # who is not let in leaves
                heard.append(connection.recv(65536))
                connection.sendall(answers)

    def begin(greeting: bytes, answers: bytes) -> tuple[str, list[bytes]]:
        thread = threading.Thread(target=serve, args=(greeting, answers))
        thread.start()
        threads.append(thread)
        return path, heard

    yield begin
    for thread in threads:
        thread.join(10)
    listener.close()


Peer = Callable[[bytes, bytes], tuple[str, list[bytes]]]


def test_a_call_and_its_answer_among_signals(peer: Peer) -> None:
    path, heard = peer(b"OK 00\r\n", reply(7, 4) + reply(8, 2) + reply(1, 2, "/job/1"))
    bus = dbus.Bus(path)
    bus.call(TARGET, "su", ("x", 3))
    bus.close()
    assert heard[0] == b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\nBEGIN\r\n"
    start = dbus.Reader(heard[1], "<")
    start.place = 12
    assert dict(start.take("a(yv)")) == {1: "/a", 2: "a.b.I", 3: "Do", 6: "a.b", 8: "su"}
    assert heard[1].endswith(bytes.fromhex("01000000 78 00 0000 03000000"))


def test_errors_have_a_name(peer: Peer) -> None:
    path, _ = peer(b"OK 00\r\n", reply(1, 3, "no such unit", "a.b.NoSuchUnit"))
    bus = dbus.Bus(path)
    with pytest.raises(dbus.CallError, match="no such unit") as caught:
        bus.call(TARGET, "", ())
    bus.close()
    assert caught.value.name == "a.b.NoSuchUnit"
    assert isinstance(caught.value, RuntimeFailure)


@pytest.mark.parametrize(
    ("greeting", "answers"), [(b"REJECTED EXTERNAL\r\n", b""), (b"OK 0\r\n", b""), (b"OK 0\r\n", b"l\x02")]
)
def test_a_peer_that_does_not_answer(peer: Peer, greeting: bytes, answers: bytes) -> None:
    path, _ = peer(greeting, answers)
    with pytest.raises(Unavailable), closing(dbus.Bus(path)) as bus:
        bus.call(TARGET, "", ())


def test_no_systemd_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dbus, "SOCKETS", (str(tmp_path / "a"), str(tmp_path / "b")))
    with pytest.raises(Unavailable, match=r"systemd cannot be reached on .*: no such file or directory"):
        scope.stop("x.scope")
