"""From a command line and ``daemon.json`` to what the daemon and the engine are told.

Owns dockerd's rule that nothing may be set in both places, and its texts. The file's keys are :data:`flags.OPTIONS`.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from corten.daemon import flags, values
from corten.engine.config import EngineConfig, RuntimeConfig, Ulimit
from corten.engine.runtimes import Runtimes
from corten.errors import InvalidArgument, NotSupported
from corten.logs import driver

DEFAULT_CONFIG_FILE: Final = "/etc/corten/daemon.json"
DEFAULT_GROUP: Final = "docker"
LEVELS: Final = ("debug", "info", "warn", "error", "fatal")


class Tls(msgspec.Struct, frozen=True):
    """Files of TLS on tcp sockets; ``verify`` asks clients for a certificate of ``ca``."""

    certificate: str
    key: str
    ca: str
    verify: bool


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything; ``group`` is None when nobody named one."""

    engine: EngineConfig
    hosts: tuple[str, ...]
    pidfile: str
    group: str | None
    tls: Tls | None
    log_level: str
    config_file: str
    validate: bool = False


def load(arguments: Sequence[str]) -> Settings:
    """Read both.

    Raises:
        InvalidArgument: either is wrong, or they contradict each other; the text names file and key.
        NotSupported: an option this engine does not have.
    """
    given = flags.parse(arguments)
    path = given.pop("config-file", None)
    validate = bool(given.pop("validate", False))
    file = _read(path or DEFAULT_CONFIG_FILE, required=path is not None)
    try:
        from_file = _from_file(file)
        _refuse_both(given, file)
    except InvalidArgument as exc:
        prefix = f"unable to configure the engine with file {path or DEFAULT_CONFIG_FILE}"
        raise InvalidArgument(f"{prefix}: {exc}") from exc
    by_flag = {option.flag: option.field for option in flags.OPTIONS}
    fields = {by_flag[name]: value for name, value in given.items() if by_flag[name]}
    if "runtimes" in fields:  # dockerd merges these two as well
        named = {runtime.name for runtime in fields["runtimes"]}
        fields["runtimes"] += tuple(item for item in from_file.get("runtimes", ()) if item.name not in named)
    return _settings({**from_file, **fields}, config_file=path or DEFAULT_CONFIG_FILE, validate=validate)


def _read(path: str, *, required: bool) -> dict[str, Any]:
    try:
        with open(path, "rb") as stream:
            raw = stream.read()
    except FileNotFoundError:
        if required:
            raise InvalidArgument(f"open {path}: no such file or directory") from None
        return {}
    if not raw.strip():
        return {}
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.MsgspecError as exc:
        raise InvalidArgument(f"unable to configure the engine with file {path}: {exc}") from exc


def _from_file(document: Mapping[str, Any]) -> dict[str, Any]:
    """Values by field."""
    unknown = sorted(set(document) - set(flags.BY_KEY))
    if unknown:
        raise InvalidArgument(f"the following directives don't match any configuration option: {', '.join(unknown)}")
    fields: dict[str, Any] = {}
    for key, value in document.items():
        option = flags.BY_KEY[key]
        found = _file_value(option, value)
        flags.check(option, found, key)
        if option.field:
            fields[option.field] = found
    return fields


_TYPES: Final[dict[str, Any]] = {
    flags.TEXT: str,
    flags.NUMBER: int,
    flags.FLAG: bool,
    flags.LIST: tuple[str, ...],
    flags.SIZE: str | int,
    flags.PERCENT: str | int,
    flags.ULIMITS: dict[str, dict[str, Any]],
    flags.POOLS: list[dict[str, Any]],
    flags.RUNTIMES: dict[str, dict[str, Any]],
}


def _file_value(option: flags.Option, value: Any) -> Any:
    if not option.field and isinstance(value, dict | list):
        return tuple(value) if isinstance(value, list) else value
    kind = dict[str, str] if option.kind == flags.MAP else _TYPES[option.kind]
    try:
        found: Any = msgspec.convert(value, kind)
        if option.kind == flags.SIZE:
            return found if isinstance(found, int) else values.size(found, option.key)
        if option.kind == flags.PERCENT:
            return values.percent(str(found), option.key)
        if option.kind == flags.ULIMITS:
            return tuple(Ulimit(name, int(item["Soft"]), int(item["Hard"])) for name, item in found.items())
        if option.kind == flags.POOLS:
            return tuple(values.checked_pool(str(item["base"]), int(item["size"]), option.key) for item in found)
        if option.kind == flags.RUNTIMES:
            return tuple(_runtime(name, item) for name, item in found.items())
    except (msgspec.ValidationError, KeyError, TypeError, ValueError) as exc:
        raise InvalidArgument(f"invalid value of {option.key}: {exc}") from exc
    return found


def _runtime(name: str, document: Mapping[str, Any]) -> RuntimeConfig:
    """One member of ``runtimes``; what would be containerd's is refused by name."""
    for key in document:
        if key not in ("path", "runtimeArgs"):
            why = "has no meaning here: a runtime is a program with runc's commands"
            raise InvalidArgument(f"runtimes.{name}.{key} {why}")
    return values.checked_runtime(
        RuntimeConfig(
            name,
            msgspec.convert(document.get("path", ""), str),
            msgspec.convert(document.get("runtimeArgs") or (), tuple[str, ...]),
        )
    )


def _refuse_both(given: Mapping[str, Any], document: Mapping[str, Any]) -> None:
    keys = {option.flag: option.key for option in flags.OPTIONS}
    conflicts = [
        f"{keys[name]}: (from flag: {_shown(value)}, from file: {_shown(document[keys[name]])})"
        for name, value in given.items()
        if keys[name] in document and name != "add-runtime"
    ]
    if conflicts:
        raise InvalidArgument(
            "the following directives are specified both as a flag and in the configuration file: "
            + ", ".join(conflicts)
        )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{' '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)


def _settings(fields: dict[str, Any], *, config_file: str, validate: bool) -> Settings:
    level = fields.pop("log_level", "debug" if fields.get("debug") else "info")
    if level not in LEVELS:
        raise InvalidArgument(f'invalid logging level: "{level}"')
    tls = _tls(fields)
    own = {name: fields.pop(name) for name in ("hosts", "pidfile", "group") if name in fields}
    for name in ("data_root", "exec_root"):
        if name in fields:
            fields[name] = os.path.abspath(fields[name])
    _check(fields)
    engine = EngineConfig(**fields)
    Runtimes(engine).check_default()
    return Settings(
        engine=engine,
        hosts=own.get("hosts") or (f"unix://{engine.exec_root}/corten.sock",),
        pidfile=own.get("pidfile") or f"{engine.exec_root}/cortend.pid",
        group=own.get("group"),
        tls=tls,
        log_level=level,
        config_file=config_file,
        validate=validate,
    )


def _check(fields: Mapping[str, Any]) -> None:
    """Values that would only fail much later."""
    for name in ("max_concurrent_downloads", "max_concurrent_uploads", "max_download_attempts"):
        if fields.get(name, 1) < 1:
            raise InvalidArgument(f"invalid {name.replace('_', ' ')}: it must be at least 1")
    if fields.get("gc_min_age", 0) < 0:
        raise InvalidArgument(f"invalid gc-min-age {fields['gc_min_age']}: it must not be negative")
    high, low = fields.get("gc_high_water", 0), fields.get("gc_low_water", 80)
    if high and low >= high:
        raise InvalidArgument(f"invalid gc-low-water {low}%: it must be below gc-high-water {high}%")
    modes = (("default_ipc_mode", ("private", "shareable")), ("default_cgroupns_mode", ("private", "host", "")))
    for name, allowed in modes:
        if fields.get(name, allowed[0]) not in allowed:
            raise InvalidArgument(f"invalid {name.replace('_', ' ')}: {fields[name]}")
    try:
        driver.validate(fields.get("log_driver", driver.DEFAULT), fields.get("log_options", {}))
    except (InvalidArgument, NotSupported) as exc:
        raise type(exc)(f"failed to set log opts: {exc}") from None
    for label in fields.get("labels", ()):
        if "=" not in label:
            raise InvalidArgument(f"bad attribute format: {label}")


def _tls(fields: dict[str, Any]) -> Tls | None:
    verify = fields.pop("tlsverify", False)
    wanted = fields.pop("tls", False) or verify
    given = [fields.pop(name, "") for name in ("tlscert", "tlskey", "tlscacert")]
    if not wanted:
        return None
    directory = os.environ.get("DOCKER_CERT_PATH") or os.path.dirname(DEFAULT_CONFIG_FILE)
    names = ("cert.pem", "key.pem", "ca.pem")
    certificate, key, ca = (path or os.path.join(directory, name) for path, name in zip(given, names, strict=True))
    return Tls(certificate, key, ca, verify)
