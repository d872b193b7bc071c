"""Log drivers by name, and the check of ``--log-opt``; texts are Docker's (moby, daemon/logger).

Pure: opens no file. ``options`` is always the wire's map of strings.
"""

from __future__ import annotations

from corten.errors import InvalidArgument, NotSupported
from corten.logs.json_file import DEFAULT_MAX_FILE, DEFAULT_MAX_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT = "json-file"
#: What can be used here.
DRIVERS = ("json-file", "none")
#: What Docker has besides.
FOREIGN = ("local", "journald", "syslog", "gelf", "fluentd", "awslogs", "splunk", "gcplogs", "etwlogs")

_COMMON = ("mode", "max-buffer-size")
_JSON_FILE = ("max-file", "max-size", "compress", "labels", "labels-regex", "env", "env-regex", "tag")
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4, "p": 1000**5}
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


def validate(name: str, options: Mapping[str, str]) -> None:
    """Refuse what Docker refuses (InvalidArgument) and what is not built here (NotSupported)."""
    if name in FOREIGN:
        raise NotSupported(f"log driver {name} is not supported yet")
    if name not in DRIVERS:
        raise InvalidArgument(f'error looking up logging plugin {name}: plugin "{name}" not found')
    _validate_common(options)
    if name == "none":
        return
    for key in options:
        if key not in _JSON_FILE and key not in _COMMON:
            raise InvalidArgument(f"unknown log opt '{key}' for json-file log driver")
    for key in ("labels-regex", "env-regex", "tag"):
        if options.get(key):
            raise NotSupported(f"log opt {key} is not supported yet")
    json_file_limits(options)


def _validate_common(options: Mapping[str, str]) -> None:
    mode = options.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidArgument(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options and mode != "non-blocking":
        raise InvalidArgument("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
    if mode == "non-blocking":
        raise NotSupported("log opt mode=non-blocking is not supported yet")


def json_file_limits(options: Mapping[str, str]) -> tuple[int, int]:
    """``max_size`` in bytes (0: no limit) and ``max_file`` for :class:`corten.logs.json_file.Writer`.

    Without any option logs are rotated at 20 MB and five files are kept; Docker keeps one file without a limit. When
    ``max-size`` is given, ``max-file`` defaults to 1 as in Docker; ``max-size=-1`` asks for no limit.
    """
    size, count = DEFAULT_MAX_SIZE, DEFAULT_MAX_FILE
    if "max-size" in options:
        size, count = (0 if options["max-size"] == "-1" else parse_size(options["max-size"])), 1
        if size <= 0 and options["max-size"] != "-1":
            raise InvalidArgument(f"max-size must be a positive number: {options['max-size']}")
    if "max-file" in options:
        count = _parse_count(options["max-file"])
    if "compress" in options and _parse_bool(options["compress"]):
        if count == 1 or size == 0:
            raise InvalidArgument("compress cannot be true when max-file is less than 2 or max-size is not set")
        raise NotSupported("log opt compress=true is not supported yet")
    return size, count


def attributes(options: Mapping[str, str], labels: Mapping[str, str], env: list[str]) -> dict[str, str]:
    """What ``labels=`` and ``env=`` (comma separated names) select; written into each line as ``attrs``."""
    found = {}
    for name in filter(None, options.get("labels", "").split(",")):
        if name in labels:
            found[name] = labels[name]
    variables = dict(item.split("=", 1) for item in env if "=" in item)
    for name in filter(None, options.get("env", "").split(",")):
        if name in variables:
            found[name] = variables[name]
    return found


def parse_size(text: str) -> int:
    """Docker's units.FromHumanSize: a decimal number, and k, m, g, t or p for a power of 1000; ``b`` is ignored."""
    number = text.strip().lower().removesuffix("b").rstrip("i")
    unit = number[-1:] if number[-1:] in _UNITS else ""
    number = number.removesuffix(unit).rstrip(" ") if unit else number
    digits = number.replace(".", "", 1)
    if not digits.isascii() or not digits.isdigit():
        raise InvalidArgument(f"invalid size: '{text}'")
    return int(float(number) * _UNITS[unit])


def _parse_count(text: str) -> int:
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits.isascii() or not digits.isdigit():
        raise InvalidArgument(f'strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 1:
        raise InvalidArgument("max-file cannot be less than 1")
    return int(text)


def _parse_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise InvalidArgument(f'strconv.ParseBool: parsing "{text}": invalid syntax')
