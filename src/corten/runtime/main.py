"""corten-runtime: the runtime as a command with runc's command line, for containerd, Podman and CRI-O.

A fresh process each time, so it imports little: no argparse, re or json. Commands that enter a container run from a
sealed interpreter (:mod:`corten.runtime.seal`). Errors go to standard error and, as JSON lines, to ``--log``.
"""

from __future__ import annotations

import os
import sys
import time

from corten import errors
from corten.oci.runtime import VERSION, encode
from corten.runtime import flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from corten.runtime.state import Host

_DEFAULT_ROOT: Final = "/run/corten-runtime"
_ENTERING: Final = frozenset({"create", "run", "exec"})
_WITHOUT_CONTAINER: Final = frozenset({"list", "features", "spec"})
_FAILED: Final = 1
_EXEC_FAILED: Final = 255


class Log:
    """The file of ``--log`` in ``--log-format``: one line an event, keys as runc's, which containerd and conmon read.
    Without a file, warnings go to standard error."""

    __slots__ = ("_debug", "_json", "_path")

    def __init__(self, options: flags.Options) -> None:
        self._path = os.path.abspath(options.values["log"]) if options.values.get("log") else ""
        self._json = options.values.get("log-format") == "json"
        self._debug = "debug" in options.switches

    def error(self, text: str) -> None:
        """Also to standard error, whatever else is there."""
        sys.stderr.write(f"{text}\n")
        if self._path:
            self._write("error", text)

    def warn(self, text: str) -> None:
        """A setting that could not be had, a hook whose failure changes nothing."""
        self._write("warning", text)

    def debug(self, text: str) -> None:
        """Only with ``--debug``."""
        if self._debug:
            self._write("debug", text)

    def _write(self, level: str, text: str) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self._json:
            line = encode({"level": level, "msg": text, "time": now})
        else:
            line = f"time={encode(now)} level={level} msg={encode(text)}"
        if not self._path:
            sys.stderr.write(f"{line}\n")
            return
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            os.write(fd, f"{line}\n".encode())
            os.close(fd)
        except OSError as error:
            sys.stderr.write(f"{text}\n" if level != "error" else "")
            sys.stderr.write(f"the log file {self._path} cannot be written: {str(error.strerror).lower()}\n")


def entry() -> None:
    """The command's entry point; ends the process with its exit code."""
    _fill_standard_streams()
    options = flags.Options()
    command = ""
    log = Log(options)
    try:
        options, rest = flags.parse(sys.argv[1:], flags.GLOBAL)
        log = Log(options)
        options.choice("log-format", ("text", "json"))
        command = rest[0] if rest else ""
        code = _dispatch(options, command, rest[1:], log)
    except Exception as error:
        from corten.runtime.finish import describe

        log.error(describe(error)[1])
        code = _EXEC_FAILED if command == "exec" else _FAILED
    sys.stdout.flush()
    os._exit(code)


def _fill_standard_streams() -> None:
    """A standard stream the caller closed becomes the null device, or the next descriptor of ours would take its place
    and be the program's."""
    while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) < 3:
        os.set_inheritable(fd, True)
    os.close(fd)


def _dispatch(options: flags.Options, command: str, rest: list[str], log: Log) -> int:
    if "version" in options.switches:
        sys.stdout.write(f"corten-runtime version {_version()}\nspec: {VERSION}\n")
        return 0
    if not command or "help" in options.switches:
        known = "\n".join(f"   {name}" for name in flags.COMMANDS)
        sys.stdout.write(f"usage: corten-runtime [global options] command [options]\n\ncommands:\n{known}\n")
        return 0
    if command not in flags.COMMANDS:
        raise errors.InvalidArgument(f"No help topic for '{command}'")
    if command in ("checkpoint", "restore"):
        raise errors.NotSupported(f"{command} is not supported: containers are not checkpointed here")
    _check_globals(options)
    if command in _ENTERING:
        from corten.runtime import seal

        seal.seal([*seal.lean_command("corten.runtime.main"), *sys.argv[1:]])
    parsed, arguments = flags.parse(rest, flags.COMMANDS[command])
    if not arguments and command not in _WITHOUT_CONTAINER:
        raise errors.InvalidArgument(f'"{command}" requires a minimum of 1 argument')
    log.debug(f"{command} {' '.join(rest)}".rstrip())
    if command in ("features", "spec"):
        return _describe(command, parsed)
    return _on_container(_host(options, log), command, arguments, parsed)


def _check_globals(options: flags.Options) -> None:
    options.choice("cgroup-manager", ("cgroupfs", "systemd"))
    if _wants_systemd(options) and not os.path.isdir("/run/systemd/system"):  # sd_booted(3)
        raise errors.Unavailable(
            "systemd cgroup flag passed, but systemd support for managing cgroups is not available"
        )
    if options.choice("rootless", ("auto", "false", "true")) == "true":
        raise errors.NotSupported("--rootless=true is not supported: containers here are made by root")


def _wants_systemd(options: flags.Options) -> bool:
    return "systemd-cgroup" in options.switches or options.values.get("cgroup-manager") == "systemd"


def _host(options: flags.Options, log: Log) -> Host:
    from corten.cgroup import hierarchy
    from corten.runtime.state import Host

    root = os.path.abspath(options.values.get("root") or _DEFAULT_ROOT)
    return Host(root, hierarchy.detect(), warn=log.warn, debug=log.debug, systemd=_wants_systemd(options))


def _describe(command: str, parsed: flags.Options) -> int:
    from corten.runtime import describe

    if command == "features":
        sys.stdout.write(encode(describe.features()) + "\n")
        return 0
    if "rootless" in parsed.switches:
        raise errors.NotSupported("spec --rootless is not supported: containers here are made by root")
    describe.write_spec(parsed.values.get("bundle", "."))
    return 0


def _on_container(host: Host, command: str, arguments: list[str], parsed: flags.Options) -> int:
    """Each command imports what it needs and no more."""
    name = arguments[0] if arguments else ""
    if command in ("create", "start", "run"):
        from corten.runtime import launch

        if command == "run":
            return launch.run(host, name, parsed)
        if command == "create":
            launch.create(host, name, parsed)
        else:
            launch.start(host, name)
    elif command == "exec":
        from corten.runtime import execute

        return execute.execute(host, arguments, parsed)
    elif command in ("state", "list", "ps"):
        _show(host, command, arguments, parsed)
    elif command == "events":
        from corten.runtime import events

        events.show(host, name, parsed)
    else:
        _change(host, command, arguments, parsed)
    return 0


def _show(host: Host, command: str, arguments: list[str], parsed: flags.Options) -> None:
    from corten.runtime import listing

    if command == "state":
        text = listing.show_state(host, arguments[0])
    elif command == "list":
        text = listing.show_list(host, parsed)
    else:
        text = listing.show_processes(host, arguments, parsed)
    sys.stdout.write(text)


def _change(host: Host, command: str, arguments: list[str], parsed: flags.Options) -> None:
    from corten.runtime import manage

    match command:
        case "kill":
            manage.kill(host, arguments, parsed)
        case "delete":
            manage.delete(host, arguments[0], parsed)
        case "pause":
            manage.pause(host, arguments[0])
        case "resume":
            manage.resume(host, arguments[0])
        case "update":
            manage.update(host, arguments[0], parsed)


def _version() -> str:
    from corten import __version__

    return __version__
