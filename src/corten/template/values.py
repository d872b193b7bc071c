"""What template values are worth in Go: types, printing, truth and comparison; pure.

Data is decoded JSON (None, bool, int, float, str, list, dict). A :class:`Struct` is an object that is a Go struct in
Docker's types, where an unknown field is an error and null has a type; a plain dict is a ``map[string]interface {}``.
"""

from __future__ import annotations

from corten.template.row import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final


class NoValue:
    """What an absent map key gives."""

    __slots__ = ()


NO_VALUE: Final = NoValue()


class Nil:
    """A nil that has a type: ``shown`` is how it prints, ``[]``, ``map[]`` or ``<nil>``."""

    __slots__ = ("shown",)

    def __init__(self, shown: str) -> None:
        self.shown = shown


NIL_SLICE: Final = Nil("[]")
NIL_MAP: Final = Nil("map[]")
NIL_POINTER: Final = Nil("<nil>")


class Number(str):
    """A JSON number as it is written (Go's ``json.Number``, a string kind)."""

    __slots__ = ()


class Time(str):
    """An RFC 3339 time that is a ``time.Time`` in Docker's types."""

    __slots__ = ()


class TypedMap(dict):  # type: ignore[type-arg]
    """A map whose elements have a type: ``zero`` is what ``index`` gives for an absent key.

    Keys of another type than string (ports) are found by ``range`` only: a template's strings do not fit them.
    """

    zero: object = ""
    key_type = "string"


class Shape:
    """What is particular to one of Docker's structs: the name that error texts show, fields that are times, Go names of
    fields that JSON calls otherwise, and the zero values of fields that may be left out.
    """

    __slots__ = ("kind", "names", "times", "zeros")

    def __init__(
        self, kind: str = "struct", *, times: frozenset[str] = frozenset(), names: dict[str, str] | None = None,
        zeros: dict[str, object] | None = None,
    ) -> None:  # fmt: skip
        self.kind = kind
        self.times = times
        self.names = names or {}
        self.zeros = zeros or {}


VERSION_NAMES: Final = {"APIVersion": "ApiVersion"}
PLAIN: Final = Shape(names=VERSION_NAMES)
EVENT: Final = Shape(
    "*events.Message",
    names={"From": "from", "ID": "id", "Scope": "scope", "Status": "status", "Time": "time", "TimeNano": "timeNano"},
    zeros={"From": "", "ID": "", "Scope": "", "Status": ""},
)
NETWORK: Final = Shape("network.Inspect", times=frozenset(("Created",)))


class Struct:
    """A decoded object as a Go struct. What is null or left out gets its type from the field's name."""

    __slots__ = ("document", "shape")

    def __init__(self, document: dict[str, Any], shape: Shape = PLAIN) -> None:
        self.document = document
        self.shape = shape

    def field(self, name: str) -> object:
        """A field; KeyError when the struct has none of that name."""
        key = self.shape.names.get(name, name)
        if key in self.document:
            value = self.document[key]
            return Time(value) if name in self.shape.times and isinstance(value, str) else typed(name, value)
        return self.shape.zeros[name] if name in self.shape.zeros else LEFT_OUT[name]


#: Fields by name that are slices or maps in Docker's types: what their null means.
SLICES: Final = frozenset((
    "Aliases", "Args", "Binds", "BlkioDeviceReadBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps", "BlkioWeightDevice", "CapAdd", "CapDrop", "Capabilities", "Cmd", "DNSNames",
    "DeviceCgroupRules", "DeviceIDs", "DeviceRequests", "Devices", "Dns", "DnsOptions", "DnsSearch", "Entrypoint",
    "Env", "ExecIDs", "ExtraHosts", "GroupAdd", "Layers", "Links", "LinkLocalIPs", "Log", "MaskedPaths", "Mounts",
    "OnBuild", "Peers", "ReadonlyPaths", "RepoDigests", "RepoTags", "SecondaryIPAddresses", "SecondaryIPv6Addresses",
    "SecurityOpt", "Shell", "Test", "Ulimits", "VolumesFrom",
))  # fmt: skip
MAPS: Final = frozenset((
    "Annotations", "Attributes", "AuxiliaryAddresses", "Containers", "Data", "Details", "DriverOpts", "ExposedPorts",
    "Labels", "Networks", "Options", "PortBindings", "Ports", "Services", "Status", "StorageOpt", "Sysctls", "Tmpfs",
    "Volumes",
))  # fmt: skip
#: Maps whose elements are slices or pointers.
_ELEMENTS: Final = {"PortBindings": NIL_SLICE, "Ports": NIL_SLICE, "Networks": NIL_POINTER}
_BY_PORT: Final = frozenset(("ExposedPorts", "PortBindings", "Ports"))
#: Fields that an engine leaves out of its JSON when they are zero.
LEFT_OUT: Final[dict[str, object]] = {
    "Health": NIL_POINTER, "SizeRw": NIL_POINTER, "SizeRootFs": NIL_POINTER, "ImageManifestDescriptor": NIL_POINTER,
    "Annotations": NIL_MAP, "Tmpfs": NIL_MAP, "StorageOpt": NIL_MAP, "Sysctls": NIL_MAP, "Mounts": NIL_SLICE,
    "Init": NIL_POINTER, "ExposedPorts": NIL_MAP, "Healthcheck": NIL_POINTER, "ArgsEscaped": False,
    "NetworkDisabled": False, "MacAddress": "", "StopSignal": "", "StopTimeout": NIL_POINTER, "Shell": NIL_SLICE,
    "ClusterVolume": NIL_POINTER, "UsageData": NIL_POINTER, "Peers": NIL_SLICE, "Services": NIL_MAP, "Status": NIL_MAP,
    "Variant": "", "OsVersion": "", "Layers": NIL_SLICE, "Author": "", "Comment": "", "Name": "", "Container": "",
    "VirtualSize": 0, "DockerVersion": "", "OnBuild": NIL_SLICE, "Hostname": "", "Manifests": NIL_SLICE,
    "Descriptor": NIL_POINTER, "BindOptions": NIL_POINTER, "VolumeOptions": NIL_POINTER, "TmpfsOptions": NIL_POINTER,
    "KernelMemory": 0, "KernelMemoryTCP": 0, "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0,
}  # fmt: skip


def typed(name: str, value: Any) -> object:
    """A JSON value as the Go value of the field ``name``."""
    if value is None:
        return NIL_SLICE if name in SLICES else NIL_MAP if name in MAPS else NIL_POINTER
    if isinstance(value, dict):
        if name not in MAPS and not (name == "Config" and not _is_config(value)):
            return Struct(value)
        result = TypedMap((key, typed("Links" if name in ("Ports", "PortBindings") else "", item))
                          for key, item in value.items())  # fmt: skip
        result.zero = _ELEMENTS.get(name, "")
        result.key_type = "nat.Port" if name in _BY_PORT else "string"
        return result
    if isinstance(value, list):
        return [typed("", item) for item in value]
    return value


def _is_config(value: dict[str, Any]) -> bool:
    """Whether an object called Config is a container's configuration; the other one is a map of log options."""
    return "Image" in value or "Env" in value or "Labels" in value or "Cmd" in value


def untyped(value: Any) -> object:
    """A JSON value as Go decodes it without a type, numbers kept as they are written."""
    if isinstance(value, dict):
        return {key: untyped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [untyped(item) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Number(value)
    return value


def document(value: object) -> object:
    """A value as JSON shows it; maps by key, structs in their order."""
    if isinstance(value, Struct):
        return _sorted_maps("", value.document)
    if isinstance(value, Row):
        return value.document()
    if isinstance(value, dict):
        return {key: document(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [document(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    if isinstance(value, Number):
        return float(value) if not value.lstrip("-").isdigit() else int(value)
    return None if isinstance(value, (Nil, NoValue)) else value


def _sorted_maps(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        keys = sorted(value) if name in MAPS else value
        return {key: _sorted_maps(key, value[key]) for key in keys}
    if isinstance(value, list):
        return [_sorted_maps("", item) for item in value]
    return value


def truth(value: object) -> bool:
    """Whether Go's templates take the value as true: not the zero value of its type."""
    if value is None or isinstance(value, (NoValue, Nil)):
        return False
    if isinstance(value, (bool, int, float, str, list, dict)):
        return bool(value)
    return True


def show(value: object) -> str:
    """The text of a value as an action prints it (Go's ``%v``)."""
    if isinstance(value, NoValue):
        return "<no value>"
    if value is None:
        return "<nil>"
    if isinstance(value, Nil):
        return value.shown
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Time):
        return _show_time(value)
    if isinstance(value, float):
        return show_float(value)
    if isinstance(value, list):
        return f"[{' '.join(show(item) for item in value)}]"
    if isinstance(value, Struct):
        return f"{{{' '.join(show(value.field(name)) for name in value.document)}}}"
    if isinstance(value, Row):
        return f"{{{' '.join(show(item) for item in value.document().values())}}}"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{show(item)}' for key, item in sorted(value.items()))}]"
    return str(value)


def _show_time(value: str) -> str:
    """Go's ``Time.String``; the zone has no name because JSON carries none, but UTC."""
    day, _, rest = value.partition("T")
    if rest.endswith("Z"):
        clock, zone = rest[:-1], "+0000 UTC"
    else:
        clock, zone = rest[:-6], f"{rest[-6:-3]}{rest[-2:]} {rest[-6:-3]}{rest[-2:]}"
    if "." in clock:
        clock = clock.rstrip("0").rstrip(".")
    return f"{day} {clock} {zone}"


def show_float(value: float) -> str:
    """Go's ``%v`` of a float64: shortest digits, an exponent below 1e-4 and from 1e6."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "0"
    digits, power = _shortest(abs(value))
    sign = "-" if value < 0 else ""
    if power < -4 or power >= 6:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{fraction}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    whole, fraction = digits[: power + 1].ljust(power + 1, "0"), digits[power + 1 :]
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def _shortest(value: float) -> tuple[str, int]:
    """The fewest digits that give the value back, and the power of ten of the first."""
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole + fraction) - len(digits)
    return digits.rstrip("0") or "0", len(whole) - 1 - leading + int(exponent or 0)


def type_name(value: object) -> str:
    """Go's name of a value's type."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, Number):
        return "json.Number"
    for kind, name in ((int, "int"), (float, "float64"), (str, "string"), (list, "[]interface {}"),
                       (dict, "map[string]interface {}")):  # fmt: skip
        if isinstance(value, kind):
            return name
    if isinstance(value, Row):
        return value.kind
    if isinstance(value, Struct):
        return value.shape.kind
    return "<nil>" if value is None or isinstance(value, (NoValue, Nil)) else type(value).__name__


def kind(value: object) -> str:
    """Go's class of a value for comparison, empty for what has no basic kind."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    return "string" if isinstance(value, str) else ""


def equal(left: object, right: object) -> bool:
    """``eq`` of two values; ValueError with Go's text."""
    nothing = (type(None), NoValue, Nil)
    if isinstance(left, nothing) or isinstance(right, nothing):
        return isinstance(left, nothing) and isinstance(right, nothing)
    left_kind, right_kind = kind(left), kind(right)
    if left_kind != right_kind:
        raise ValueError("incompatible types for comparison")
    if not left_kind:
        raise ValueError(f"non-comparable type {show(left)}: {type_name(left)}")
    return left == right


def less(left: object, right: object) -> bool:
    """``lt`` of two values; ValueError with Go's text."""
    left_kind, right_kind = kind(left), kind(right)
    if not left_kind or not right_kind:
        raise ValueError("invalid type for comparison")
    if left_kind != right_kind:
        raise ValueError("incompatible types for comparison")
    if left_kind == "bool":
        raise ValueError("invalid type for comparison")
    return left < right  # type: ignore[operator, no-any-return]
