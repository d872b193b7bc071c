"""Values of single options of ``run``: checked and brought into the API's shape; pure. Texts are Docker's."""

from __future__ import annotations

from corten.cli import quantities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: rlimits by the names users give them (setrlimit(2)).
ULIMITS = frozenset({
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
})  # fmt: skip
SYSCTLS = frozenset({
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
    "kernel.shm_rmid_forced",
})  # fmt: skip
SYSCTL_FAMILIES = ("net.", "fs.mqueue.")
STREAMS = ("stdin", "stdout", "stderr")
DEVICE_MODE = frozenset("rwm")


def stream(text: str) -> str:
    """``--attach``."""
    if text.lower() not in STREAMS:
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def environment(text: str) -> str:
    """``--env``."""
    if not text or text.startswith("="):
        raise ValueError(f"invalid environment variable: {text}")
    return text


def label(text: str) -> str:
    """``--label``."""
    key = text.partition("=")[0]
    if key != key.strip() or not key:
        raise ValueError(f"invalid label '{text}': {'empty name' if not key.strip() else 'contains whitespaces'}")
    return text


def ulimit(text: str) -> dict[str, Any]:
    """``--ulimit NAME=SOFT[:HARD]``."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    parts = limits.split(":")
    if len(parts) > 2:
        raise ValueError(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    numbers = []
    for part in parts:
        try:
            numbers.append(int(part))
        except ValueError:
            raise ValueError(f'strconv.ParseInt: parsing "{part}": invalid syntax') from None
    soft, hard = numbers[0], numbers[-1]
    if hard != -1 and (soft == -1 or soft > hard):
        if soft == -1:
            raise ValueError(
                f"ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: {hard}"
            )
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Hard": hard, "Soft": soft}


def sysctl(text: str) -> tuple[str, str]:
    """``--sysctl NAME=VALUE``: only what belongs to a namespace of the container."""
    name, equals, value = text.partition("=")
    if equals and (name in SYSCTLS or name.startswith(SYSCTL_FAMILIES)):
        return name, value
    raise ValueError(f"sysctl '{text}' is not allowed")


def ip_address(text: str) -> str:
    """An address of either family."""
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            return _socket.inet_ntop(family, _socket.inet_pton(family, text.strip()))
        except OSError:
            continue
    raise ValueError(f"IP address is not correctly formatted: {text}")


def extra_host(text: str) -> str:
    """``--add-host NAME:ADDRESS`` or ``NAME=ADDRESS``."""
    cut = min((at for at in (text.find("="), text.find(":")) if at >= 0), default=-1)
    name, address = text[:cut], text[cut + 1 :]
    if cut < 1:
        raise ValueError(f'bad format for add-host: "{text}"')
    if address == "host-gateway":
        return f"{name}:{address}"
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    try:
        ip_address(address)
    except ValueError:
        raise ValueError(f'invalid IP address in add-host: "{address}"') from None
    return f"{name}:{address}"


def device(text: str) -> str:
    """``--device`` names something; what it is is decided in :func:`device_mapping`."""
    if (
        not text
        or text.count(":") > 2
        or (text.count(":") == 2 and not DEVICE_MODE.issuperset(text.rpartition(":")[2]))
    ):
        raise ValueError(
            f"bad format for path: {text}" if text.count(":") != 2 else f"bad mode specified: {text.rpartition(':')[2]}"
        )
    return text


def is_cdi_device(text: str) -> bool:
    """Whether ``text`` is ``vendor.com/class=name`` (Container Device Interface)."""
    kind, equals, name = text.partition("=")
    vendor, slash, family = kind.partition("/")
    return bool(equals and slash and name and family and vendor and vendor[0].isalnum() and "/" not in family)


def device_mapping(text: str) -> dict[str, Any]:
    """``HOST[:CONTAINER][:MODE]``."""
    parts = text.split(":")
    host, inside, mode = parts[0], parts[0], "rwm"
    if len(parts) == 3:
        inside, mode = parts[1], parts[2]
    elif len(parts) == 2 and parts[1] and DEVICE_MODE.issuperset(parts[1]):
        mode = parts[1]
    elif len(parts) == 2:
        inside = parts[1]
    return {"PathOnHost": host, "PathInContainer": inside or host, "CgroupPermissions": mode}


def device_cgroup_rule(text: str) -> str:
    """``--device-cgroup-rule 'c 1:3 rwm'``."""
    words = text.split(" ")
    numbers = words[1].split(":") if len(words) == 3 else []
    good = len(numbers) == 2 and words[0] in {"a", "b", "c"} and 1 <= len(words[2]) <= 3
    if not (good and all(one == "*" or one.isdigit() for one in numbers) and DEVICE_MODE.issuperset(words[2])):
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def weight_device(text: str) -> dict[str, Any]:
    """``--blkio-weight-device PATH:WEIGHT``."""
    path, colon, weight = text.partition(":")
    if not colon:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    if not weight.isdigit() or (int(weight) and not 10 <= int(weight) <= 1000):
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(weight)}


def byte_rate(text: str) -> dict[str, Any]:
    """``--device-read-bps PATH:RATE``."""
    path, rate = _device_rate(text)
    try:
        return {"Path": path, "Rate": quantities.size(rate)}
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. "
            "Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        ) from None  # fmt: skip


def operation_rate(text: str) -> dict[str, Any]:
    """``--device-read-iops PATH:RATE``."""
    path, rate = _device_rate(text)
    if not rate.isdigit():
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>. "
            "Number must be a positive integer"
        )
    return {"Path": path, "Rate": int(rate)}


def _device_rate(text: str) -> tuple[str, str]:
    path, colon, rate = text.partition(":")
    if not colon:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, rate


def link(text: str) -> str:
    """``--link NAME[:ALIAS]``."""
    if not text or text.count(":") > 1:
        raise ValueError("empty string specified for links" if not text else f"bad format for links: {text}")
    return text


def mac_address(text: str) -> str:
    """``--mac-address``."""
    octets = text.replace("-", ":").split(":")
    if len(octets) not in {6, 8, 20} or not all(len(octet) == 2 and _is_hex(octet) for octet in octets):
        raise ValueError(f"{text} is not a valid mac address")
    return text


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdefABCDEF" for character in text)


def csv(text: str) -> list[str]:
    """The fields of one line of comma-separated values; a quoted field may hold commas and doubled quotes.

    Raises:
        ValueError: a quote stands where none may.
    """
    fields: list[str] = []
    rest = text
    while True:
        if rest.startswith('"'):
            end = 1
            while True:
                end = rest.find('"', end)
                if end < 0:
                    raise ValueError('parse error on line 1, column 1: extraneous or missing " in quoted-field')
                if rest[end + 1 : end + 2] != '"':
                    break
                end += 2
            fields.append(rest[1:end].replace('""', '"'))
            rest = rest[end + 1 :]
            if rest and not rest.startswith(","):
                raise ValueError('parse error on line 1, column 1: extraneous or missing " in quoted-field')
        else:
            field, comma, after = rest.partition(",")
            if '"' in field:
                raise ValueError('parse error on line 1, column 1: bare " in non-quoted-field')
            fields.append(field)
            rest = comma + after
        if not rest:
            return fields
        rest = rest[1:]


def gpus(text: str) -> dict[str, Any]:
    """``--gpus all``, a number, or ``device=...,capabilities=...,driver=...,count=...``."""
    request: dict[str, Any] = {"Driver": "", "Count": 0, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}
    seen: set[str] = set()
    for field in csv(text):
        key, equals, value = field.partition("=")
        if not equals:
            key, value = "count", field
        if key in seen:
            raise ValueError(f"gpu request key '{key}' can be specified only once")
        seen.add(key)
        if key == "count":
            request["Count"] = _gpu_count(value)
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key == "driver":
            request["Driver"] = value
        elif key == "capabilities":
            request["Capabilities"] = [[*value.split(","), "gpu"]]
        elif key == "options":
            request["Options"] = dict(part.partition("=")[::2] for part in csv(value))
        else:
            raise ValueError(f"unexpected key '{key}' in '{field}'")
    if "count" not in seen and request["DeviceIDs"] is None:
        request["Count"] = 1
    return request


def _gpu_count(value: str) -> int:
    if value == "all":
        return -1
    if not value.lstrip("-").isdigit():
        wanted = 'value must be either "all" or an integer'
        raise ValueError(f"invalid count ({value}): {wanted}: invalid syntax")
    return int(value)


def network(text: str) -> dict[str, Any]:
    """``--network NAME`` or ``--network name=NAME,alias=A,ip=...``."""
    attachment: dict[str, Any] = {"name": text, "aliases": [], "options": {}, "local": []}
    if "=" not in text:
        return attachment
    attachment["name"] = ""
    single = {"name": "name", "ip": "ip", "ip6": "ip6", "mac-address": "mac"}
    for field in csv(text):
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if not equals:
            raise ValueError(f"invalid field {field}")
        if key in single:
            attachment[single[key]] = value.strip()
        elif key == "alias":
            attachment["aliases"].append(value.strip())
        elif key == "link-local-ip":
            attachment["local"].append(value.strip())
        elif key == "driver-opt":
            name, equals, option = value.partition("=")
            if not equals:
                raise ValueError("invalid key value pair format in driver options")
            attachment["options"][name.strip().lower()] = option.strip()
        elif key == "gw-priority":
            attachment["priority"] = _priority(value)
        else:
            raise ValueError(f"invalid field key {key}")
    if not attachment["name"]:
        raise ValueError("network name/id is not specified")
    return attachment


def _priority(value: str) -> int:
    if not value.lstrip("+-").isdigit():
        raise ValueError(f'invalid gw-priority: strconv.Atoi: parsing "{value}": invalid syntax')
    return int(value)


def capabilities(add: list[str], drop: list[str]) -> tuple[list[str] | None, list[str] | None]:
    """``--cap-add`` and ``--cap-drop`` with full names, sorted; adding wins over dropping, ALL over single ones."""
    added, dropped = _capability_names(add), _capability_names(drop)
    return sorted(added) or None, sorted(dropped - added) or None


def _capability_names(names: list[str]) -> set[str]:
    full = set()
    for name in names:
        upper = name.strip().upper()
        full.add(upper if upper in {"ALL", "RESET"} or upper.startswith("CAP_") else f"CAP_{upper}")
    return {"ALL"} if "ALL" in full else full


def restart_policy(text: str) -> dict[str, Any]:
    """``--restart POLICY[:MAX]``."""
    name, colon, count = text.partition(":")
    if colon and not name:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    if colon and not count.lstrip("+-").isdigit():
        raise ValueError("invalid restart policy format: maximum retry count must be an integer")
    return {"Name": name, "MaximumRetryCount": int(count) if colon else 0}
