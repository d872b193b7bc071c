"""``cortend``: an engine as a service.

(1) the configuration: flags and daemon.json, checked before anything is touched
(2) logging, umask, directories
(3) the pid file: one engine per exec root
(4) the sockets, so that clients wait instead of failing
(5) the engine
(6) requests are answered; the service manager is told
(7) SIGTERM or SIGINT: requests end, the engine lets go, containers run on; a second one ends at once
"""

import asyncio
import faulthandler
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

from corten.daemon import flags, journal, listeners, notify, pidfile, settings
from corten.engine.engine import Engine
from corten.errors import CortenError
from corten.server.identity import version
from corten.server.service import ApiServer

_log: Final = logging.getLogger("corten.daemon.main")

#: What SIGHUP can change: values of the daemon, not of the engine's services.
_RELOADABLE: Final = frozenset({"log_level", "debug"})


def entry(arguments: Sequence[str] | None = None) -> int:
    """The command; the exit code is 0 after an orderly end, 1 when it could not start."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "-h" in words or "--help" in words:
        sys.stdout.write(flags.usage())
        return 0
    if "-v" in words or "--version" in words:
        sys.stdout.write(f"cortend version {version()}\n")
        return 0
    try:
        chosen = settings.load(words)  # (1)
        if chosen.validate:
            sys.stdout.write("configuration OK\n")
            return 0
        journal.set_up(chosen.log_level)  # (2)
        asyncio.run(_serve(chosen, words))
    except CortenError as exc:
        sys.stderr.write(f"cortend: {exc}\n")
        return 1
    return 0


async def _serve(chosen: settings.Settings, words: Sequence[str]) -> None:
    os.umask(0o022)  # (2)
    for path, mode in ((chosen.engine.data_root, 0o700), (chosen.engine.exec_root, 0o711)):
        os.makedirs(path, mode, exist_ok=True)
    async with AsyncExitStack() as stack:
        pidfile.write(chosen.pidfile)  # (3)
        stack.callback(pidfile.remove, chosen.pidfile)
        opened = listeners.open_all(chosen.hosts, group=chosen.group, tls=chosen.tls)  # (4)
        stack.callback(listeners.close_all, opened)
        stop = _handle_signals(chosen, words)
        engine = Engine(chosen.engine)  # (5)
        await engine.start()
        stack.push_async_callback(engine.close)
        _raise_open_files()
        server = ApiServer(engine)  # (6)
        for listener in opened:
            await server.listen(listener.socket, tls=listener.tls)
        gc.collect()
        gc.freeze()
        notify.tell(f"READY=1\nMAINPID={os.getpid()}")
        _log.info("API listen on %s", " ".join(chosen.hosts))
        await stop.wait()
        notify.tell("STOPPING=1")  # (7)
        await server.close(chosen.engine.shutdown_timeout)
    _log.info("engine ended")


def _raise_open_files() -> None:
    """To the hard limit: a published port costs a descriptor. After the shim's start: containers inherit its limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _handle_signals(chosen: settings.Settings, words: Sequence[str]) -> asyncio.Event:
    """SIGTERM and SIGINT set the event, twice end at once; SIGHUP reloads; SIGUSR1 prints every thread's stack."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def terminate(number: int) -> None:
        if stop.is_set():
            _log.warning("second %s: ending at once", signal.Signals(number).name)
            os._exit(1)
        _log.info("received %s, ending; containers run on", signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, terminate, number)
    loop.add_signal_handler(signal.SIGHUP, _reload, chosen, words)
    faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True)
    return stop


def _reload(started: settings.Settings, words: Sequence[str]) -> None:
    """Read the configuration again; what only a restart can change is named in the log."""
    notify.tell("RELOADING=1")
    try:
        fresh = settings.load(words)
    except CortenError as exc:
        _log.error("reload: %s; the configuration is unchanged", exc)
    else:
        journal.set_level(fresh.log_level)
        changed = _changed(started, fresh)
        _log.info("reloaded configuration, log level %s", fresh.log_level)
        if changed:
            _log.warning("reload: %s changed and need a restart (containers run on)", ", ".join(changed))
    notify.tell("READY=1")


def _changed(started: settings.Settings, fresh: settings.Settings) -> list[str]:
    pairs = ((started, fresh), (started.engine, fresh.engine))
    return [
        name
        for old, new in pairs
        for name in old.__struct_fields__
        if name not in _RELOADABLE and name != "engine" and getattr(old, name) != getattr(new, name)
    ]


if __name__ == "__main__":
    sys.exit(entry())
