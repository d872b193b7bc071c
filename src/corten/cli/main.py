"""The dispatcher of ``corten``: global flags, the words that name a command, its flags, its exit code.

Owns what is the same for every command: help, usage errors, how an error is printed and which exit code it becomes.
Knows no command: :mod:`corten.cli.tree` says where each is. Start-up time is this module's first concern
(LIMITS: an interpreter's bare start is a third of what a whole ``docker ps`` takes), so it imports next to nothing.
"""

from __future__ import annotations

import os
import sys

from corten.cli import options
from corten.cli.config import Config, choose
from corten.cli.context import Context
from corten.cli.tree import ALIASES, GROUPS, NOT_YET, TREE
from corten.client.endpoint import Tls
from corten.client.errors import ClientError, ConnectionFailed, EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final, NoReturn

    from corten.cli.config import Choice
    from corten.cli.options import Command, Values

    Run = Callable[[Context, Values, list[str]], int]

GLOBAL: Final = (
    options.Flag("config", "", options.STRING, "Location of client config files"),
    options.Flag("context", "c", options.STRING, "Name of the context to use to connect to the daemon"),
    options.Flag("debug", "D", options.BOOL, "Enable debug mode"),
    options.Flag("host", "H", options.LIST, "Daemon socket to connect to"),
    options.Flag("log-level", "l", options.STRING, "Set the logging level", "info"),
    options.Flag("tls", "", options.BOOL, "Use TLS; implied by --tlsverify"),
    options.Flag("tlscacert", "", options.STRING, "Trust certs signed only by this CA"),
    options.Flag("tlscert", "", options.STRING, "Path to TLS certificate file"),
    options.Flag("tlskey", "", options.STRING, "Path to TLS key file"),
    options.Flag("tlsverify", "", options.BOOL, "Use TLS and verify the remote"),
    options.Flag("version", "v", options.BOOL, "Print version information and quit"),
    options.HELP,
)

#: Commands whose own failures are told from those of the program they run: 125 instead of 1.
_RUN_LIKE: Final = frozenset(("run", "create", "container run", "container create"))


def entry() -> NoReturn:
    """The ``corten`` command."""
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # The reader went away (`| head`): there is nobody left to tell, and nothing more may be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 0
    # No interpreter teardown: it takes milliseconds and there is nothing left that it could save.
    sys.stderr.flush()
    os._exit(code)


def main(words: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    try:
        values, rest, _ = options.parse(GLOBAL, words, interspersed=False)
    except options.UsageError as error:
        return _usage(str(error), "", 125)
    if values["version"]:
        from corten import __version__

        print(f"Corten version {__version__}")
        return 0
    if not rest or values["help"]:
        return _overview(())
    if rest[0] == "help":
        return _help(rest[1:])
    path, arguments = _resolve(rest)
    if path not in TREE:
        return _no_such(rest, arguments)
    return _command(path, arguments, values)


def _resolve(words: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The longest command the words begin with, and the rest; a group without a verb is not a command."""
    length = 2 if words[0] in GROUPS else 1
    path = tuple(words[:length])
    return ALIASES.get(path, path), list(words[length:])


def _command(path: tuple[str, ...], arguments: list[str], settings: Values) -> int:
    name = " ".join(path)
    command, run = _load(path)
    try:
        values, rest, given = command.parse(arguments)
        if values["help"]:
            print(command.help(name))
            return 0
        command.check(rest, f"corten {name}")
    except options.UsageError as error:
        return _usage(str(error), name, 125 if name in _RUN_LIKE or str(error).startswith("unknown") else 1)
    config = Config(str(settings["config"] or ""))
    context = Context(config, lambda: _choice(config, settings), name)
    context.given = given
    try:
        return run(context, values, rest)
    except ClientError as error:
        return _failed(error, name)


def _load(path: tuple[str, ...]) -> tuple[Command, Run]:
    module_name, _, function = TREE[path].partition(":")
    __import__(module_name)
    module = sys.modules[module_name]
    return getattr(module, function.strip("_").upper()), getattr(module, function)


def _choice(config: Config, settings: Values) -> Choice:
    hosts = settings["host"]
    assert isinstance(hosts, list)
    if len(hosts) > 1:
        raise ClientError("Specify only one -H")
    tls = None
    if settings["tls"] or settings["tlsverify"]:
        certificate = str(settings["tlscert"] or settings["tlscacert"] or f"{config.directory}/cert.pem")
        tls = Tls(os.path.dirname(certificate), verify=bool(settings["tlsverify"]))
    return choose(config, host=hosts[0] if hosts else "", context=str(settings["context"]), tls=tls)


def _failed(error: ClientError, name: str) -> int:
    if name not in _RUN_LIKE:
        print(error, file=sys.stderr)
        return 1
    if isinstance(error, (EngineError, ConnectionFailed)) or name.endswith("run"):
        print(f"corten: {error}\n\nRun 'corten {name} --help' for more information", file=sys.stderr)
        return 125 if name.endswith("run") else 1
    print(error, file=sys.stderr)
    return 1


def _usage(text: str, name: str, code: int) -> int:
    """A command line that does not fit: pflag's sentence and where help is."""
    where = f"corten {name} --help" if name else "corten --help"
    if name and ("requires" in text or "accepts" in text):
        command, _ = _load(tuple(name.split()))
        print(f"corten: {text}\n\nUsage:  {command.usage}\n\nRun '{where}' for more information", file=sys.stderr)
        return 1
    print(f"{text}\n\nUsage:  corten {name or '[OPTIONS] COMMAND [ARG...]'}"
          f"{' [OPTIONS]' if name else ''}\n\nRun '{where}' for more information", file=sys.stderr)  # fmt: skip
    return code


def _no_such(words: Sequence[str], arguments: Sequence[str]) -> int:
    if words[0] in NOT_YET:
        print(f"corten: '{words[0]}' is not available yet", file=sys.stderr)
        return 1
    if words[0] in GROUPS:
        if len(words) == 1 or words[1] in ("--help", "-h"):
            return _overview((words[0],))
        print(f"corten: unknown command: corten {words[0]} {words[1]}\n\nUsage:  corten {words[0]} COMMAND\n\n"
              f"Run 'corten {words[0]} --help' for more information", file=sys.stderr)  # fmt: skip
        return 1
    print(f"corten: unknown command: corten {words[0]}\n\nRun 'corten --help' for more information", file=sys.stderr)
    return 1


def _help(words: Sequence[str]) -> int:
    if not words:
        return _overview(())
    path, rest = _resolve(words)
    if path in TREE:
        print(_load(path)[0].help(" ".join(path)))
        return 0
    if words[0] in GROUPS and len(words) == 1:
        return _overview((words[0],))
    return _no_such(words, rest)


def _overview(group: tuple[str, ...]) -> int:
    """The list of commands below ``group`` (empty: all)."""
    depth = len(group) + 1
    rows = {path[-1]: _load(path)[0].short for path in TREE if len(path) == depth and path[:-1] == group}
    name = " ".join(("corten", *group))
    print(f"Usage:  {name} {'[OPTIONS] ' if not group else ''}COMMAND\n")
    print(GROUPS[group[0]] if group else "A container engine in Python")
    if not group:
        width = max(len(word) for word in (*GROUPS, *rows))
        print("\nManagement Commands:")
        for word, text in sorted(GROUPS.items()):
            print(f"  {word:<{width}}  {text}")
    width = max(len(word) for word in rows)
    print("\nCommands:")
    for word, text in sorted(rows.items()):
        print(f"  {word:<{width}}  {text}")
    if not group:
        print("\nGlobal Options:")
        text = options.Command("", "", GLOBAL).help("")
        print(text.partition("Options:\n")[2])
    print(f"\nRun '{name} COMMAND --help' for more information on a command.")
    return 0
