"""Unix sockets of the API: modes, stale files, refusals; and the pid file."""

import os
import socket
import stat
from pathlib import Path

import pytest

from corten.daemon import journal, listeners, notify, pidfile
from corten.errors import InvalidArgument, Unavailable


@pytest.fixture(autouse=True)
def _unprivileged(monkeypatch):
    if os.geteuid() != 0:
        monkeypatch.setattr(os, "chown", lambda *_: None)


def open_one(path: object, group: str | None = "") -> listeners.Listener:
    (found,) = listeners.open_all([f"unix://{path}"], group=group, tls=None)
    return found


def test_the_socket_is_for_its_group_only_and_goes_with_us(tmp_path):
    path = tmp_path / "deep" / "s"
    listener = open_one(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    listeners.close_all([listener])
    assert not path.exists()
    listeners.close_all([listener])


def test_what_a_crash_left_is_replaced(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listeners.close_all([open_one(path)])


def test_a_socket_that_answers_is_left_alone(tmp_path):
    path = tmp_path / "s"
    first = open_one(path)
    with pytest.raises(Unavailable, match="an engine answers on it"):
        open_one(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listeners.close_all([first])


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(Unavailable, match="is not a socket"):
        open_one(path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("host", ["unix://relative", "ftp://x", "tcp://127.0.0.1:x", "tcp://127.0.0.1:70000",
                                  "unix:///" + "a" * 200])  # fmt: skip
def test_bad_addresses_are_refused(host):
    with pytest.raises(InvalidArgument, match="invalid bind address"):
        listeners.open_all([host], group="", tls=None)


def test_a_named_group_must_exist_and_the_default_one_need_not(tmp_path):
    with pytest.raises(InvalidArgument, match="group no-such-group not found"):
        open_one(tmp_path / "a", "no-such-group")
    listeners.close_all([open_one(tmp_path / "b", None)])


def test_one_bad_address_leaves_no_socket_of_the_others(tmp_path):
    with pytest.raises(InvalidArgument):
        listeners.open_all([f"unix://{tmp_path}/s", "ftp://x"], group="", tls=None)
    assert not (tmp_path / "s").exists()


def test_socket_activation_needs_its_environment(monkeypatch):
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    with pytest.raises(Unavailable, match="no sockets found via socket activation"):
        listeners.open_all(["fd://"], group="", tls=None)


def test_the_pid_file_keeps_a_second_engine_out(tmp_path):
    path = str(tmp_path / "run" / "pid")
    pidfile.write(path)
    assert int(Path(path).read_text()) == os.getpid()
    pidfile.write(path)
    pidfile.remove(path)
    assert not os.path.exists(path)
    pidfile.remove(path)


def test_a_stale_pid_file_is_replaced_and_a_strangers_is_not_removed(tmp_path):
    path = tmp_path / "pid"
    path.write_text("1")
    pidfile.remove(str(path))
    assert path.read_text() == "1"
    pidfile.write(str(path))
    path.write_text("not a number")
    pidfile.write(str(path))


def test_the_service_manager_is_told(tmp_path, monkeypatch):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        notify.tell("READY=1")
        assert manager.recv(100) == b"READY=1"
    notify.tell("STOPPING=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify.tell("READY=1")


def test_a_log_line_is_one_line_whatever_it_holds():
    import logging

    record = logging.LogRecord("corten.x", logging.WARNING, "f", 1, 'a "b"\n\x1b[31m', (), None)
    line = journal.Logfmt().format(record)
    assert line.endswith('level=warning msg="a \\"b\\"\\n\\x1b[31m" module=x')
    assert line.startswith('time="20')
