"""What a container's log driver needs of the container: attributes, tag, journal fields, and where a sink is.

Owns the meaning of ``labels``, ``labels-regex``, ``env``, ``env-regex`` and ``tag`` (moby, daemon/logger/loginfo.go and
loggerutils/log_tag.go), and the shim's ``log`` document. Which options there are is :mod:`corten.logs.driver`'s.
"""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from corten.api.pattern import Pattern
from corten.engine.record import ContainerRecord
from corten.engine.roster import short
from corten.errors import InvalidArgument, RuntimeFailure
from corten.logs import driver, journald, syslog
from corten.logs.encode import format_time
from corten.template.engine import Template, TemplateError
from corten.template.row import Row
from corten.template.tokens import ParseFailure
from corten.template.values import Time

#: Of journald and syslog; the file drivers have a tag only where one was asked for.
_DEFAULT_TAG: Final = "{{.ID}}"
_CONNECT_SECONDS: Final = 5.0
_NOT_STARTED: Final = "failed to initialize logging driver"


def check(record: ContainerRecord, default_path: str = "") -> None:
    """Raises InvalidArgument, with the text of the start that Docker would let fail, for a bad tag or expression."""
    options = record.host.LogConfig.Config or {}
    if record.host.LogConfig.Type == "none":
        return
    try:
        attributes(record)
        tag(record, options.get("tag", ""), default_path)
    except InvalidArgument as error:
        raise InvalidArgument(f"{_NOT_STARTED}: {error}") from None


def document(record: ContainerRecord, path: str) -> dict[str, Any]:
    """The ``log`` field of the shim's ``start``; the sink of syslog is added by :func:`connect`."""
    log = record.host.LogConfig
    options = log.Config or {}
    if log.Type == "none":
        return {"driver": "none"}
    size, count, compress = driver.file_limits(log.Type, options)
    found: dict[str, Any] = {
        "driver": log.Type,
        "path": path,
        "max_size": size,
        "max_file": count,
        "compress": compress,
        "buffer": driver.buffer_size(options),
        "attributes": {},
    }
    if log.Type == "json-file":
        found["attributes"] = attributes(record)
        if options.get("tag"):
            found["attributes"]["tag"] = tag(record, options["tag"], path)
    elif log.Type == "journald":
        found["sink"] = {"target": ("unixgram", journald.SOCKET), "fields": _journal_fields(record, options)}
    elif log.Type == "syslog":
        found["sink"] = {
            "address": options.get("syslog-address", ""),
            "facility": syslog.facility(options.get("syslog-facility", "")),
            "format": options.get("syslog-format", ""),
            "tag": tag(record, options.get("tag") or _DEFAULT_TAG),
        }
    return found


def connect(log: dict[str, Any]) -> None:
    """Find the sink of a ``log`` document and fill in where it is; blocks, as names are resolved.

    Raises:
        RuntimeFailure: nobody is there, in Docker's words.
    """
    sink = log["sink"]
    if log["driver"] == "journald":
        if not os.path.exists(journald.SOCKET):
            raise RuntimeFailure(f"{_NOT_STARTED}: journald is not enabled on this host")
        return
    sink["target"] = _syslog_target(sink.pop("address"))


def attributes(record: ContainerRecord, rename: Callable[[str], str] = str) -> dict[str, str]:
    """What ``labels``, ``env`` and their expressions select, by (renamed) name."""
    options = record.host.LogConfig.Config or {}
    labels = record.config.Labels or {}
    variables = dict(item.split("=", 1) for item in record.config.Env or () if "=" in item)
    found = {}
    for values, key in ((labels, "labels"), (variables, "env")):
        for name in _selected(values, options.get(key, ""), options.get(f"{key}-regex", "")):
            found[rename(name)] = values[name]
    return found


def _selected(values: Mapping[str, str], names: str, expression: str) -> Iterator[str]:
    yield from (name for name in names.split(",") if name in values)
    if expression:
        pattern = _compile(expression)
        yield from (name for name in values if pattern.found(name))


def _compile(expression: str) -> Pattern:
    try:
        return Pattern(expression)
    except ValueError as error:
        raise InvalidArgument(f"error parsing regexp: {error}: `{expression}`") from None


def tag(record: ContainerRecord, template: str, path: str = "") -> str:
    """A log tag: Go's template over Docker's logger.Info."""
    if "{{" not in template:
        return template
    try:
        return Template(template).render(_facts(record, path))
    except (ParseFailure, TemplateError) as error:
        text = str(error).replace("template: :", "template: log-tag:", 1)
        raise InvalidArgument(text.replace('executing ""', 'executing "log-tag"', 1)) from None


def _facts(record: ContainerRecord, path: str) -> Row:
    values: dict[str, object] = {
        "ID": short(record.id),
        "FullID": record.id,
        "Name": record.name,
        "ImageID": short(record.image_id),
        "ImageFullID": record.image_id,
        "ImageName": record.config.Image,
        "DaemonName": "docker",
        "Command": " ".join(record.command),
        "Hostname": os.uname().nodename,
        "Config": dict(record.host.LogConfig.Config or {}),
        "ContainerID": record.id,
        "ContainerName": f"/{record.name}",
        "ContainerEntrypoint": record.path,
        "ContainerArgs": list(record.args),
        "ContainerImageID": record.image_id,
        "ContainerImageName": record.config.Image,
        "ContainerCreated": Time(format_time(record.created_ns).decode()),
        "ContainerEnv": list(record.config.Env or ()),
        "ContainerLabels": dict(record.config.Labels or {}),
        "LogPath": path,
    }
    return Row("*logger.Info", {name: partial(values.get, name) for name in values})


def _journal_fields(record: ContainerRecord, options: Mapping[str, str]) -> dict[str, str]:
    name = tag(record, options.get("tag") or _DEFAULT_TAG)
    return {
        **attributes(record, journald.field_name),
        "CONTAINER_ID": short(record.id),
        "CONTAINER_ID_FULL": record.id,
        "CONTAINER_NAME": record.name,
        "CONTAINER_TAG": name,
        "IMAGE_NAME": record.config.Image,
        "SYSLOG_IDENTIFIER": name,
    }


def _syslog_target(address: str) -> tuple[str, tuple[str, int] | str]:
    protocol, host, port = syslog.parse_address(address)
    if not protocol:
        return _local_syslog()
    if protocol in ("unix", "unixgram"):
        _try(protocol, host)
        return protocol, host
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    try:
        found = socket.getaddrinfo(host, port, type=kind)
    except OSError as error:
        raise RuntimeFailure(f"{_NOT_STARTED}: dial {protocol}: lookup {host}: {_reason(error)}") from None
    where = (str(found[0][4][0]), port)
    _try(protocol, where)
    return protocol, where


def _local_syslog() -> tuple[str, str]:
    for path in syslog.LOCAL:
        for protocol in ("unixgram", "unix"):
            try:
                _try(protocol, path)
            except RuntimeFailure:
                continue
            return protocol, path
    raise RuntimeFailure(f"{_NOT_STARTED}: Unix syslog delivery error")


def _try(protocol: str, where: tuple[str, int] | str) -> None:
    """Whether somebody is there at all; a datagram's address is only checked for its form."""
    kind = socket.SOCK_STREAM if protocol in ("tcp", "unix") else socket.SOCK_DGRAM
    family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    shown = where if isinstance(where, str) else f"{where[0]}:{where[1]}"
    try:
        with socket.socket(family, kind) as client:
            client.settimeout(_CONNECT_SECONDS)
            client.connect(where)
    except OSError as error:
        raise RuntimeFailure(f"{_NOT_STARTED}: dial {protocol} {shown}: connect: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
