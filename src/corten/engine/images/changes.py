"""``--change`` of import and commit: Dockerfile instructions applied to an image's config. Pure.

Owns the eleven instructions Docker allows there (moby ``builder/dockerfile/builder.go``, BuildFromConfig) and their
small grammar. Refuses everything else, with Docker's text.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from corten.errors import InvalidArgument, NotSupported
from corten.oci.image import ContainerConfig, Healthcheck

_INSTRUCTION: Final = re.compile(r"\s*([A-Za-z]+)(?:\s+(.*))?\Z", re.DOTALL)
_VARIABLE: Final = re.compile(r"\\(.)|\$(\w+)|\$\{(\w+)([^}]*)\}|(\$)", re.DOTALL)
_WORD: Final = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+""", re.DOTALL)
_PORT: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?\Z", re.IGNORECASE)
_SHELL: Final = ("/bin/sh", "-c")

Fields = dict[str, Any]


def apply(config: ContainerConfig, changes: Sequence[str]) -> ContainerConfig:
    """``config`` after every change in order; InvalidArgument names the instruction."""
    for line in changes:
        match = _INSTRUCTION.match(line)
        if match is None:
            if not line.strip():
                continue
            raise InvalidArgument(f"{line.split()[0]} is not a valid change command")
        name, rest = match.group(1).upper(), (match.group(2) or "").strip()
        handler = _HANDLERS.get(name)
        if handler is None:
            raise InvalidArgument(f"{name} is not a valid change command")
        if not rest:
            raise InvalidArgument(f"{name} requires at least one argument")
        config = msgspec.structs.replace(config, **handler(config, rest))
    return config


def _command(config: ContainerConfig, rest: str) -> tuple[str, ...]:
    """The JSON form, or the shell form."""
    if rest.startswith("["):
        try:
            return msgspec.json.decode(rest, type=tuple[str, ...])
        except msgspec.DecodeError:
            pass  # Docker takes what is no JSON list for a shell command
    return (*(config.shell or _SHELL), rest)


def _cmd(config: ContainerConfig, rest: str) -> Fields:
    return {"cmd": _command(config, rest)}


def _entrypoint(config: ContainerConfig, rest: str) -> Fields:
    return {"entrypoint": _command(config, rest)}


def _env(config: ContainerConfig, rest: str) -> Fields:
    values = dict(item.partition("=")[::2] for item in config.env or ())
    values.update(_pairs("ENV", rest, values))
    return {"env": tuple(f"{key}={value}" for key, value in values.items())}


def _label(config: ContainerConfig, rest: str) -> Fields:
    return {"labels": {**(config.labels or {}), **dict(_pairs("LABEL", rest, _environment(config)))}}


def _expose(config: ContainerConfig, rest: str) -> Fields:
    ports = dict(config.exposed_ports or {})
    for word in _expand(rest, _environment(config)).split():
        match = _PORT.match(word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if match is None or not 0 < first <= last <= 65535:
            raise InvalidArgument(f"invalid containerPort: {word}")
        ports.update({f"{port}/{(match[3] or 'tcp').lower()}": {} for port in range(first, last + 1)})
    return {"exposed_ports": ports}


def _healthcheck(config: ContainerConfig, rest: str) -> Fields:
    options: dict[str, int] = {}
    while match := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
        options[match[1].replace("-", "_")] = _health_option(match[1], match[2])
        rest = rest[match.end() :]
    kind, _, command = rest.partition(" ")
    if kind.upper() == "NONE":
        return {"healthcheck": Healthcheck(test=("NONE",))}
    if kind.upper() != "CMD" or not command.strip():
        raise InvalidArgument(f'Unknown type "{kind}" in HEALTHCHECK (try CMD)')
    if command.strip().startswith("["):
        return {"healthcheck": Healthcheck(test=("CMD", *_command(config, command.strip())), **options)}
    return {"healthcheck": Healthcheck(test=("CMD-SHELL", command.strip()), **options)}


def _health_option(name: str, value: str) -> int:
    if name == "retries" and value.isdigit():
        return int(value)
    units = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
    parts = re.findall(r"(\d+)(ns|us|ms|s|m|h)", value)
    if name in ("interval", "timeout", "start-period", "start-interval") and "".join(map("".join, parts)) == value:
        return sum(int(number) * units[unit] for number, unit in parts)
    raise InvalidArgument(f"invalid HEALTHCHECK option --{name}={value}")


def _onbuild(config: ContainerConfig, rest: str) -> Fields:
    if rest.split()[0].upper() in ("ONBUILD", "FROM", "MAINTAINER"):
        raise InvalidArgument(f"{rest.split()[0].upper()} isn't allowed as an ONBUILD trigger")
    return {"on_build": (*(config.on_build or ()), rest)}


def _stopsignal(config: ContainerConfig, rest: str) -> Fields:
    return {"stop_signal": _expand(rest, _environment(config))}


def _user(config: ContainerConfig, rest: str) -> Fields:
    return {"user": _expand(rest, _environment(config))}


def _volume(config: ContainerConfig, rest: str) -> Fields:
    paths = _command(config, rest) if rest.startswith("[") else tuple(_words(rest, _environment(config)))
    return {"volumes": {**(config.volumes or {}), **{path: {} for path in paths}}}


def _workdir(config: ContainerConfig, rest: str) -> Fields:
    path = _expand(rest, _environment(config))
    joined = path if path.startswith("/") else f"{config.working_dir or '/'}/{path}"
    parts: list[str] = []
    for part in joined.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", ".", ".."):
            parts.append(part)
    return {"working_dir": "/" + "/".join(parts)}


def _pairs(name: str, rest: str, values: Mapping[str, str]) -> list[tuple[str, str]]:
    """``key=value ...`` with quotes, or the old ``key value``."""
    words = _WORD.findall(rest)
    if "=" not in words[0]:
        key, _, value = rest.partition(" ")
        if not value.strip():
            raise InvalidArgument(f"{name} must have two arguments")
        return [(key, _expand(value.strip(), values))]
    found = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise InvalidArgument(f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value')
        found.append((_expand(key, values), _expand(value, values)))
    return found


def _words(rest: str, values: Mapping[str, str]) -> list[str]:
    return [_expand(word, values) for word in _WORD.findall(rest)]


def _environment(config: ContainerConfig) -> dict[str, str]:
    return dict(item.partition("=")[::2] for item in config.env or ())


def _expand(text: str, values: Mapping[str, str]) -> str:
    """Remove quotes and replace ``$name``; nothing is replaced inside single quotes."""
    result = ""
    for piece in re.findall(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"|(?:[^'\"\\]|\\.)+|.", text, re.DOTALL):
        if len(piece) > 1 and piece[0] == piece[-1] == "'":
            result += piece[1:-1]
        else:
            result += _substitute(piece[1:-1] if piece[0] == '"' and len(piece) > 1 else piece, values)
    return result


def _substitute(text: str, values: Mapping[str, str]) -> str:
    def one(match: re.Match[str]) -> str:
        escaped, plain, braced, modifier, lone = match.groups()
        if modifier:
            raise NotSupported(f"the modifier in ${{{braced}{modifier}}} is not supported in a change")
        return escaped or lone or values.get(plain or braced, "")

    return _VARIABLE.sub(one, text)


_HANDLERS: Final[Mapping[str, Callable[[ContainerConfig, str], Fields]]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
