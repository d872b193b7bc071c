"""Log drivers by name, and the check of ``--log-opt``; texts are Docker's (moby, daemon/logger).

Pure: opens no file and no socket. ``options`` is always the wire's map of strings. What needs the container (tags,
labels, regular expressions) is :mod:`corten.engine.containers.logging`'s.
"""

from __future__ import annotations

from corten.errors import InvalidArgument, NotSupported
from corten.logs import syslog
from corten.logs.json_file import DEFAULT_MAX_FILE, DEFAULT_MAX_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    #: ``max_size`` in bytes (0: no limit), ``max_file``, and whether rotated files are compressed.
    Limits: TypeAlias = "tuple[int, int, bool]"

DEFAULT = "json-file"
#: What can be used here, as ``info`` lists it; ``none`` besides.
DRIVERS = ("journald", "json-file", "local", "syslog")
#: What Docker has besides.
FOREIGN = ("awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "splunk")
#: Drivers whose only copy of the log is elsewhere, unless the cache keeps one here.
REMOTE = ("journald", "syslog")
#: What is kept for a sink that does not take it, unless ``max-buffer-size`` says otherwise (Docker's size).
DEFAULT_BUFFER = 1024 * 1024

_COMMON = ("mode", "max-buffer-size", "cache-disabled", "cache-max-size", "cache-max-file", "cache-compress")
_SELECTION = ("labels", "labels-regex", "env", "env-regex", "tag")
_OPTIONS = {
    "json-file": ("max-file", "max-size", "compress", *_SELECTION),
    "local": ("max-file", "max-size", "compress"),
    "journald": _SELECTION,
    "syslog": ("syslog-address", "syslog-facility", "syslog-format", *_SELECTION),
}
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4, "p": 1000**5}
_BINARY = {unit: 1024**power for power, unit in enumerate(("", "k", "m", "g", "t", "p"))}
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_NOT_STARTED = "failed to initialize logging driver"


def validate(name: str, options: Mapping[str, str]) -> None:
    """Refuse what Docker refuses (InvalidArgument) and what is not built here (NotSupported)."""
    if name in FOREIGN:
        raise NotSupported(f"log driver {name} is not supported")
    if name == "none":
        return
    if name not in DRIVERS:
        raise InvalidArgument(f'error looking up logging plugin {name}: plugin "{name}" not found')
    _validate_common(options)
    for key in options:
        if key.startswith("syslog-tls-") and name == "syslog":
            raise NotSupported(f"log opt {key} is not supported")
        if key not in _OPTIONS[name] and key not in _COMMON:
            driver = f"log driver {name}" if name == "local" else f"{name} log driver"
            raise InvalidArgument(f"unknown log opt '{key}' for {driver}")
    if name == "syslog":
        syslog.validate(options)
    try:
        file_limits(name, options)
    except InvalidArgument as error:
        raise InvalidArgument(f"{_NOT_STARTED}: {error}") from None


def _validate_common(options: Mapping[str, str]) -> None:
    mode = options.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidArgument(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options:
        if mode != "non-blocking":
            raise InvalidArgument("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
        try:
            parse_size(options["max-buffer-size"], _BINARY)
        except InvalidArgument as error:
            raise InvalidArgument(f"error parsing option max-buffer-size: {error}") from None
    disabled = options.get("cache-disabled", "")
    if disabled not in ("", *_TRUE, *_FALSE):
        raise InvalidArgument(f"invalid value for option cache-disabled: {disabled}")


def has_file(name: str, options: Mapping[str, str]) -> bool:
    """Whether a log is kept here that can be read back."""
    return name != "none" and not (name in REMOTE and options.get("cache-disabled", "") in _TRUE)


def buffer_size(options: Mapping[str, str]) -> int:
    """Bytes that may wait: 0 where the file is written at once; a remote sink has always DEFAULT_BUFFER or more."""
    if options.get("mode") != "non-blocking":
        return 0
    return parse_size(options["max-buffer-size"], _BINARY) if "max-buffer-size" in options else DEFAULT_BUFFER


def file_limits(name: str, options: Mapping[str, str]) -> Limits:
    """For :class:`corten.logs.json_file.Writer`; a remote driver's are those of its cache.

    Raises:
        InvalidArgument: Docker's text for a value that cannot be.
    """
    if name == "json-file":
        return _json_file_limits(options)
    prefix = "cache-" if name in REMOTE else ""
    return _local_limits({key.removeprefix(prefix): value for key, value in options.items() if key.startswith(prefix)})


def _json_file_limits(options: Mapping[str, str]) -> Limits:
    """Without any option logs are rotated at 20 MB and five files are kept; Docker keeps one file without a limit.

    When ``max-size`` is given, ``max-file`` defaults to 1 as in Docker; ``max-size=-1`` asks for no limit.
    """
    size, count = DEFAULT_MAX_SIZE, DEFAULT_MAX_FILE
    if "max-size" in options:
        size, count = (0 if options["max-size"] == "-1" else parse_size(options["max-size"])), 1
        if size <= 0 and options["max-size"] != "-1":
            raise InvalidArgument("max-size must be a positive number")
    if "max-file" in options:
        count = _parse_count(options["max-file"])
        if count < 1:
            raise InvalidArgument("max-file cannot be less than 1")
    compress = "compress" in options and _parse_bool(options["compress"])
    if compress and (count == 1 or size == 0):
        raise InvalidArgument("compress cannot be true when max-file is less than 2 or max-size is not set")
    return size, count, compress


def _local_limits(options: Mapping[str, str]) -> Limits:
    """20 MB by five files, compressed."""
    size, count, compress = DEFAULT_MAX_SIZE, DEFAULT_MAX_FILE, True
    key, wrong = "max-size", "invalid value for max-size: {}"
    try:
        size = parse_size(options[key]) if key in options else size
        key, wrong = "max-file", "invalid value for max-file: {}"
        count = _parse_count(options[key]) if key in options else count
        key, wrong = "compress", "error reading compress log option"
        compress = _parse_bool(options[key]) if key in options else compress
    except InvalidArgument as error:
        raise InvalidArgument(f"{wrong.format(options[key])}: {error}") from None
    if compress and count < 2:
        raise InvalidArgument("compression cannot be enabled when max file count is 1")
    return size, max(count, 1), compress


def parse_size(text: str, units: Mapping[str, int] = _UNITS) -> int:
    """Docker's units.FromHumanSize: a decimal number, and k, m, g, t or p for a power of 1000; ``b`` is ignored."""
    number = text.strip().lower().removesuffix("b").rstrip("i")
    unit = number[-1:] if number[-1:] in _UNITS else ""
    number = number.removesuffix(unit).rstrip(" ") if unit else number
    digits = number.replace(".", "", 1)
    if not digits.isascii() or not digits.isdigit() or float(number) * units[unit] >= 1 << 63:
        raise InvalidArgument(f"invalid size: '{text}'")
    return int(float(number) * units[unit])


def _parse_count(text: str) -> int:
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise InvalidArgument(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def _parse_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise InvalidArgument(f'strconv.ParseBool: parsing "{text}": invalid syntax')
