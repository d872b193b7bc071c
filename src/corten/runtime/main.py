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

_DEFAULT_ROOT: Final = "/run/corten-runtime"
_ENTERING: Final = frozenset({"create", "run", "exec"})
_FAILED: Final = 1
_EXEC_FAILED: Final = 255


def entry() -> None:
    """The command's entry point; ends the process with its exit code."""
    arguments = sys.argv[1:]
    options = flags.Options()
    command = ""
    try:
        options, rest = flags.parse(arguments, flags.GLOBAL)
        command = rest[0] if rest else ""
        code = _dispatch(options, command, rest[1:])
    except (errors.CortenError, OSError, EOFError) as error:
        _report(options, error)
        code = _EXEC_FAILED if command == "exec" else _FAILED
    sys.stdout.flush()
    os._exit(code)


def _dispatch(options: flags.Options, command: str, rest: list[str]) -> int:
    if "version" in options.switches:
        sys.stdout.write(f"corten-runtime version {_version()}\nspec: {VERSION}\n")
        return 0
    if not command or "help" in options.switches:
        known = "\n".join(f"   {name}" for name in flags.COMMANDS)
        sys.stdout.write(f"usage: corten-runtime [global options] command [options]\n\ncommands:\n{known}\n")
        return 0
    if command not in flags.COMMANDS:
        raise errors.InvalidArgument(f"No help topic for '{command}'")
    if "systemd-cgroup" in options.switches:
        raise errors.NotSupported("--systemd-cgroup is not supported: use the cgroupfs manager")
    if options.values.get("log-format", "text") not in ("text", "json"):
        raise errors.InvalidArgument(f'invalid log-format: "{options.values["log-format"]}"')
    if command in _ENTERING:
        from corten.runtime import seal

        seal.seal([*seal.lean_command("corten.runtime.main"), *sys.argv[1:]])
    parsed, arguments = flags.parse(rest, flags.COMMANDS[command])
    root = options.values.get("root") or _DEFAULT_ROOT
    if command in ("features", "spec"):
        return _describe(command, parsed)
    if not arguments and command != "list":
        raise errors.InvalidArgument(f'"{command}" requires a minimum of 1 argument')
    return _on_container(root, command, arguments, parsed, options)


def _describe(command: str, parsed: flags.Options) -> int:
    from corten.runtime import describe

    if command == "features":
        sys.stdout.write(encode(describe.features()) + "\n")
        return 0
    if "rootless" in parsed.switches:
        raise errors.NotSupported("spec --rootless is not supported yet")
    describe.write_spec(parsed.values.get("bundle", "."))
    return 0


def _on_container(root: str, command: str, arguments: list[str], parsed: flags.Options, log: flags.Options) -> int:
    from corten.cgroup import hierarchy
    from corten.runtime import launch, manage

    host = hierarchy.detect()
    name = arguments[0] if arguments else ""
    warnings: list[str] = []
    match command:
        case "create":
            warnings = launch.create(root, host, name, parsed).warnings
        case "start":
            launch.start(root, host, name)
        case "run":
            return launch.run(root, host, name, parsed)
        case "exec":
            return launch.execute(root, host, arguments, parsed)
        case "update":
            warnings = manage.update(root, host, name, parsed)
        case "state" | "list" | "ps":
            sys.stdout.write(manage.show(command, root, host, arguments, parsed))
        case _:
            manage.change(command, root, host, arguments, parsed)
    for warning in warnings:
        _log(log, "warning", warning)
    return 0


def _version() -> str:
    from corten import __version__

    return __version__


def _report(options: flags.Options, error: BaseException) -> None:
    """The error to standard error and to the log file, one line each, as runc writes them."""
    from corten.runtime.finish import describe

    text = describe(error)[1]
    sys.stderr.write(f"{text}\n")
    _log(options, "error", text)


def _log(options: flags.Options, level: str, text: str) -> None:
    """One line to the file of ``--log``, in ``--log-format``."""
    path = options.values.get("log")
    if not path:
        return
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if options.values.get("log-format") == "json":
        line = encode({"level": level, "msg": text, "time": now})
    else:
        line = f"time={encode(now)} level={level} msg={encode(text)}"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        os.write(fd, f"{line}\n".encode())
        os.close(fd)
    except OSError:
        sys.stderr.write(f"the log file {path} cannot be written\n")
