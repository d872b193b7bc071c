"""The command ``corten``: global options, the way to a command, exit codes. Knows no command.

Exit codes are those of the docker CLI: 0, 1 for a failure, 125 for a wrong option, and whatever ``run`` and ``exec``
bring back. The process ends by ``_exit``: taking the interpreter apart would cost more than many commands.
"""

from __future__ import annotations

import gc
import os
import sys

from corten.cli import catalog, options
from corten.cli.catalog import Command
from corten.cli.options import Flag, HelpRequested, UsageError
from corten.cli.session import CommandFailed, Session, Settings
from corten.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROGRAM = "corten"
USAGE_ERROR = 125
INTERRUPTED = 130
#: Allocations between two runs of the cycle collector; a command ends long before garbage matters.
COLLECT_AFTER = 100_000

GLOBAL_FLAGS = (
    Flag("config", "", "string", "Directory of the client's configuration"),
    Flag("context", "c", "string", "Context that names the engine (wins over the environment)"),
    Flag("debug", "D", "bool", "Show how an error came about"),
    Flag("host", "H", "list", "Address of the engine"),
    Flag("log-level", "l", "string", 'Logging level ("debug", "info", "warn", "error", "fatal")', "info"),
    Flag("tls", "", "bool", "Use TLS (implied by --tlsverify)"),
    Flag("tlscacert", "", "string", "Trust only certificates this CA signed"),
    Flag("tlscert", "", "string", "TLS certificate file"),
    Flag("tlskey", "", "string", "TLS key file"),
    Flag("tlsverify", "", "bool", "Use TLS and verify the engine"),
    Flag("version", "v", "bool", "Print the version and quit"),
)


def entry() -> None:
    """Run the process's command line; never returns."""
    gc.set_threshold(COLLECT_AFTER)
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (BrokenPipeError, ValueError):
        code = code or 1
    os._exit(code)


def main(words: Sequence[str]) -> int:
    """Run one command line and return its exit code; every known failure has been printed."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        given, rest = options.parse(GLOBAL_FLAGS, list(words), interspersed=False)
    except UsageError as error:
        return _usage_failure(str(error), f"{PROGRAM} [OPTIONS] COMMAND [ARG...]", PROGRAM)
    except HelpRequested:
        return _help(None, "", sys.stdout)
    session = Session(Settings(given))
    if given.flag("version"):
        from corten import __version__

        session.print(f"Corten version {__version__}")
        return 0
    return _dispatch(session, rest)


def _dispatch(session: Session, words: list[str]) -> int:
    if not words:
        return _help(None, "", sys.stderr)
    if words[0] == "help":
        return _help_topic(words[1:])
    found = catalog.find(words)
    if found is None:
        return _no_command(words)
    command, called, rest = found
    return _run(session, command, called, rest)


def _no_command(words: list[str]) -> int:
    group = words[0] if words[0] in catalog.GROUPS else ""
    if group and len(words) == 1:
        return _help_group(group, sys.stderr)
    if group and words[1] in {"--help", "-h"}:
        return _help_group(group, sys.stdout)
    if group and words[1].startswith("-"):
        flag = words[1].partition("=")[0]
        return _usage_failure(f"unknown flag: {flag}", f"{PROGRAM} {group}", f"{PROGRAM} {group}")
    name = " ".join([PROGRAM, *words[: 2 if group else 1]])
    usage = f"Usage:  {PROGRAM} {group}\n\n" if group else ""
    asked = f"{PROGRAM} {group}".rstrip()
    more = f"Run '{asked} --help' for more information"
    sys.stderr.write(f"{PROGRAM}: unknown command: {name}\n\n{usage}{more}\n")
    return 1


def _run(session: Session, command: Command, called: str, words: list[str]) -> int:
    name = f"{PROGRAM} {called}"
    if not command.code:
        sys.stderr.write(f"{PROGRAM}: '{called}' is not available yet\n")
        return 1
    usage = f"{name} {command.arguments}".rstrip()
    function, flags = load(command)
    try:
        given, arguments = options.parse(flags, words, interspersed=command.interspersed)
    except UsageError as error:
        return _usage_failure(str(error), usage, name)
    except HelpRequested:
        return _help(command, called, sys.stdout)
    if not command.low <= len(arguments) <= command.high:
        return _wrong_count(command, name, usage)
    return _guarded(session, function, given, arguments)


def _guarded(session: Session, function: Callable[..., int], given: options.Options, arguments: list[str]) -> int:
    """Run the command; what fails by design becomes its text and exit code here and nowhere else."""
    try:
        code = function(session, given, arguments)
        sys.stdout.flush()
        return code
    except CommandFailed as error:
        if str(error):
            sys.stdout.flush()
            sys.stderr.write(f"{error}\n")
        return error.code
    except CortenError as error:
        sys.stdout.flush()
        sys.stderr.write(f"{error}\n")
        return 1
    except BrokenPipeError:
        # The reader of our output is gone (`corten ps | head`): nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        sys.stderr.write(
            f"{PROGRAM}: {error.strerror or error}{': ' + str(error.filename) if error.filename else ''}\n"
        )
        return 1


def load(command: Command) -> tuple[Callable[..., int], tuple[Flag, ...]]:
    """The function of a command and its flags."""
    module_name, _, name = command.code.partition(":")
    module = __import__(f"corten.cli.commands.{module_name}", fromlist=[name])
    return getattr(module, name), getattr(module, f"{name.rstrip('_').upper()}_FLAGS", ())


def _usage_failure(text: str, usage: str, name: str) -> int:
    sys.stderr.write(f"{text}\n\nUsage:  {usage}\n\nRun '{name} --help' for more information\n")
    return USAGE_ERROR


def _wrong_count(command: Command, name: str, usage: str) -> int:
    low, high = command.low, command.high
    hint = "Run"
    if high == 0:
        wanted = "accepts no arguments"
    elif low == high:
        wanted = f"requires {low} argument{'' if low == 1 else 's'}"
    elif high == catalog.MANY:
        wanted = f"requires at least {low} argument{'' if low == 1 else 's'}"
        hint = "See"
    elif low == 0:
        wanted = f"requires at most {high} argument{'' if high == 1 else 's'}"
    else:
        wanted = f"requires at least {low} and at most {high} arguments"
    sys.stderr.write(
        f"{PROGRAM}: '{name}' {wanted}\n\nUsage:  {usage}\n\n{hint} '{name} --help' for more information\n"
    )
    return 1


def _help_topic(words: list[str]) -> int:
    if not words:
        return _help(None, "", sys.stdout)
    found = catalog.find(words)
    if found is not None:
        return _help(found[0], found[1], sys.stdout)
    if words[0] in catalog.GROUPS:
        return _help_group(words[0], sys.stdout)
    sys.stderr.write(f"unknown help topic: {' '.join(words)}\n")
    return 1


def _help(command: Command | None, called: str, stream: object) -> int:
    from corten.cli import help as pages

    page = pages.command(command, called) if command is not None else pages.program(GLOBAL_FLAGS)
    print(page, file=stream, end="")  # type: ignore[call-overload]
    return 0


def _help_group(group: str, stream: object) -> int:
    from corten.cli import help as pages

    print(pages.group(group), file=stream, end="")  # type: ignore[call-overload]
    return 0
