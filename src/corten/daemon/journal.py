"""The engine's own log: one logfmt line per message on stderr."""

import logging
import sys
from datetime import UTC, datetime
from typing import Final

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
_NAMES: Final = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "fatal",
}


class Logfmt(logging.Formatter):
    """``time="..." level=info msg="..." module=engine.engine``; a traceback is part of the message, escaped."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        level = _NAMES.get(record.levelno, record.levelname.lower())
        module = record.name.removeprefix("corten.")
        return f'time="{moment:%Y-%m-%dT%H:%M:%S.%f}Z" level={level} msg={_quote(text)} module={module}'


def _quote(text: str) -> str:
    """One line whatever ``text`` holds: names and errors may come from containers and registries."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in escaped) + '"'


def set_up(level: str) -> None:
    """Log to stderr; once per process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Logfmt())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)


def set_level(level: str) -> None:
    """``debug info warn error fatal``; libraries are never louder than info."""
    root = logging.getLogger()
    root.setLevel(max(_LEVELS[level], logging.INFO))
    logging.getLogger("corten").setLevel(_LEVELS[level])
