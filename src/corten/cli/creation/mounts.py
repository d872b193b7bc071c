"""``--volume``, ``--mount`` and ``--tmpfs`` in the API's shape. Texts are Docker's."""

from __future__ import annotations

import os

from corten.cli import quantities
from corten.cli.creation import values
from corten.cli.options import parse_bool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TRUE_WHEN_BARE = frozenset({"readonly", "ro", "volume-nocopy", "bind-nonrecursive"})
RECURSIVE = {
    "enabled": {},
    "disabled": {"NonRecursive": True},
    "writable": {"ReadOnlyNonRecursive": True},
    "readonly": {"ReadOnlyForceRecursive": True},
}


def bind(text: str) -> tuple[str, str]:
    """One ``--volume``: ``(bind, "")`` for something mounted there, ``("", target)`` for an anonymous volume.

    Raises:
        ValueError: Docker's text.
    """
    parts = text.split(":")
    if len(parts) == 1:
        if not text:
            raise ValueError("invalid empty volume spec")
        return "", text
    if len(parts) > 3:
        raise ValueError(f"invalid spec: {text}: too many colons")
    if not all(parts):
        raise ValueError(f"invalid spec: {text}: empty section between colons")
    source, _, rest = text.partition(":")
    if source.startswith("."):
        source = os.path.normpath(os.path.join(os.getcwd(), source))
    return f"{source}:{rest}", ""


def mount(text: str) -> dict[str, Any]:
    """One ``--mount``.

    Raises:
        ValueError: Docker's text.
    """
    found: dict[str, Any] = {"Type": "volume"}
    parts: dict[str, dict[str, Any]] = {"BindOptions": {}, "VolumeOptions": {}, "TmpfsOptions": {}}
    for field in values.csv(text):
        key, equals, value = field.partition("=")
        key = key.lower().strip()
        if not equals:
            if key not in TRUE_WHEN_BARE:
                raise ValueError(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        _set(found, parts, key, value)
    return _checked(found, parts)


def _set(found: dict[str, Any], parts: dict[str, dict[str, Any]], key: str, value: str) -> None:
    if key == "type":
        found["Type"] = value.lower()
    elif key in {"source", "src"}:
        relative = value in {".", ".."} or value.startswith(("./", "../"))
        found["Source"] = os.path.normpath(os.path.join(os.getcwd(), value)) if relative else value
    elif key in {"target", "dst", "destination"}:
        found["Target"] = value
    elif key in {"readonly", "ro"}:
        found["ReadOnly"] = _boolean(key, value)
    elif key == "consistency":
        found["Consistency"] = value.lower()
    elif key == "image-subpath":
        parts.setdefault("ImageOptions", {})["Subpath"] = value
    else:
        kind = key.partition("-")[0]
        setters = {"bind": _set_bind, "volume": _set_volume, "tmpfs": _set_tmpfs}
        if kind not in setters:
            raise ValueError(f"unexpected key '{key}' in '{key}={value}'")
        setters[kind](parts[f"{kind.title()}Options"], key, value)


def _set_tmpfs(chosen: dict[str, Any], key: str, value: str) -> None:
    fields = {"tmpfs-size": ("SizeBytes", quantities.size), "tmpfs-mode": ("Mode", _octal)}
    if key not in fields:
        raise ValueError(f"unexpected key '{key}' in '{key}={value}'")
    field, parse = fields[key]
    try:
        chosen[field] = parse(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _octal(text: str) -> int:
    return int(text, 8)


def _set_bind(chosen: dict[str, Any], key: str, value: str) -> None:
    if key == "bind-propagation":
        chosen["Propagation"] = value.lower()
    elif key == "bind-nonrecursive":
        chosen["NonRecursive"] = _boolean(key, value)
    elif key == "bind-recursive":
        if value not in RECURSIVE:
            raise ValueError(
                f'invalid value for {key}: {value} (must be "enabled", "disabled", "writable", or "readonly")'
            )
        chosen.update(RECURSIVE[value])
    else:
        raise ValueError(f"unexpected key '{key}' in '{key}={value}'")


def _set_volume(chosen: dict[str, Any], key: str, value: str) -> None:
    if key == "volume-nocopy":
        chosen["NoCopy"] = _boolean(key, value)
    elif key == "volume-subpath":
        chosen["Subpath"] = value
    elif key == "volume-label":
        name, _, label = value.partition("=")
        chosen.setdefault("Labels", {})[name] = label
    elif key == "volume-driver":
        chosen.setdefault("DriverConfig", {})["Name"] = value
    elif key == "volume-opt":
        name, _, option = value.partition("=")
        chosen.setdefault("DriverConfig", {}).setdefault("Options", {})[name] = option
    else:
        raise ValueError(f"unexpected key '{key}' in '{key}={value}'")


def _boolean(key: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _checked(found: dict[str, Any], parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    kind = found["Type"]
    if not kind:
        raise ValueError("type is required")
    if not found.get("Target"):
        raise ValueError("target is required")
    homes = {"BindOptions": "bind", "VolumeOptions": "volume", "TmpfsOptions": "tmpfs", "ImageOptions": "image"}
    for name, options in parts.items():
        if not options:
            continue
        if homes[name] != kind:
            raise ValueError(f"cannot mix '{homes[name]}-*' options with mount type '{kind}'")
        found[name] = options
    if "VolumeOptions" in found:
        found["VolumeOptions"].setdefault("DriverConfig", {})
    bound = parts["BindOptions"]
    if bound.get("ReadOnlyNonRecursive") and not found.get("ReadOnly"):
        raise ValueError("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction")
    if bound.get("ReadOnlyForceRecursive"):
        if not found.get("ReadOnly"):
            raise ValueError("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction")
        if bound.get("Propagation") != "rprivate":
            raise ValueError(
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
            )
    return found
