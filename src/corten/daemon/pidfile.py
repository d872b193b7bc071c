"""The engine's pid file: who runs, and that nobody else starts beside it."""

import os

from corten.errors import Unavailable


def write(path: str) -> None:
    """Claim ``path``.

    Raises:
        Unavailable: the process it names is alive and is an engine.
    """
    pid = _read(path)
    if pid and pid != os.getpid() and _is_engine(pid):
        raise Unavailable(
            f"failed to start the engine, ensure cortend is not running or delete {path}: "
            f"process with PID {pid} is still running"
        )
    os.makedirs(os.path.dirname(path) or ".", 0o711, exist_ok=True)
    fresh = f"{path}.{os.getpid()}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, b"%d" % os.getpid())
    finally:
        os.close(descriptor)
    os.rename(fresh, path)


def remove(path: str) -> None:
    """Give it up; another's is left alone."""
    if _read(path) == os.getpid():
        os.unlink(path)


def _read(path: str) -> int:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            text = stream.read(32).strip()
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return int(text) if text.isdigit() else 0


def _is_engine(pid: int) -> bool:
    """Whether ``pid`` lives and looks like an engine: after a reboot its number may be anybody's."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            return b"corten" in stream.read(4096)
    except OSError:
        return False
