"""What a runtime says when it fails, in Docker's words and with Docker's exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.errors import CommandNotFound, CommandNotInvocable, RuntimeFailure
from corten.shim import program
from corten.shim.foreign import command

RUNTIME = {"name": "x", "path": "/opt/x", "arguments": ["--debug"], "root": "/run/x"}


def test_a_command_line_has_the_users_arguments_first() -> None:
    assert command.line(RUNTIME, "/log", "start", "id") == [
        "/opt/x", "--debug", "--root", "/run/x", "--log", "/log", "--log-format", "json", "start", "id",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        ('unable to start container process: exec: "nosuch": executable file not found in $PATH', CommandNotFound, 127),
        ("executable file `nosuch` not found in $PATH: No such file or directory", CommandNotFound, 127),
        ('exec: "nosuch": permission denied', CommandNotInvocable, 126),
        ('exec: "nosuch": is a directory', CommandNotInvocable, 126),
        ("rootfs /x: no such file or directory", RuntimeFailure, 128),
        ("mkdir /etc/passwd: not a directory", CommandNotFound, 127),
        ("anything else", RuntimeFailure, 128),
    ],
)
def test_exit_codes(tmp_path: Path, said: str, kind: type[RuntimeFailure], code: int) -> None:
    error = command.failure("create", 1, str(tmp_path / "none"), said, "nosuch")
    assert type(error) is kind
    assert isinstance(error, RuntimeFailure)
    assert error.exit_code == code
    start = "failed to create task for container: failed to create shim task: OCI runtime create failed: "
    assert str(error).startswith(f"{start}{said}: unknown")


def test_the_log_is_believed_before_standard_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        'no json\n{"level":"error","msg":"first"}\n{"level":"error","msg":"last"}\n{"level":"info","msg":"x"}\n["y"]\n'
    )
    assert "OCI runtime start failed: last: unknown" in str(command.failure("start", 1, str(log), "else", "p"))


def test_a_silent_runtime_is_quoted_by_its_status(tmp_path: Path) -> None:
    none = str(tmp_path / "none")
    assert "did not terminate successfully: exit status 3" in str(command.failure("create", 3, none, " \n", "p"))
    assert "killed" in str(command.failure("create", program.TIMED_OUT, none, "", "p"))


def test_an_exec_has_its_prefix_from_the_engine(tmp_path: Path) -> None:
    said = "exec failed: unable to start container process: x"
    assert str(command.failure("exec", 1, str(tmp_path / "none"), said, "p")) == said.removeprefix("exec failed: ")
