"""JSON bodies read as Docker reads them; pure.

What Go's decoder does and a strict one does not, and clients count on: a member that is ``null`` is a member that is
absent, names match in any case, and members without a meaning are ignored. A repeated name means its last value, and a
body is parsed exactly once, so that nothing can be read in two ways.
"""

from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec import inspect

from corten.errors import InvalidArgument

T = TypeVar("T")

#: Deeper than any request, shallow enough for the recursion below.
_MAX_DEPTH: Final = 64


def decode(raw: bytes, kind: type[T]) -> T:
    """``raw`` as a ``kind`` (a struct type).

    Raises:
        InvalidArgument: no JSON, not an object, or a member of the wrong type; the text says where.
    """
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidArgument(f"invalid JSON: {exc}") from exc
    try:
        return msgspec.convert(_shaped(document, _described(kind), 0), kind)  # type: ignore[arg-type]
    except msgspec.ValidationError as exc:
        raise InvalidArgument(f"invalid JSON: {exc}") from exc


def _shaped(value: Any, kind: inspect.Type, depth: int) -> Any:
    """``value`` with its structs' member names spelt as declared and their nulls dropped."""
    if depth > _MAX_DEPTH:
        raise InvalidArgument("invalid JSON: nested too deeply")
    if isinstance(kind, inspect.UnionType):
        kind = _member_of(value, kind)
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        return _struct(value, kind, depth)
    if isinstance(kind, inspect.DictType) and isinstance(value, dict):
        return {key: _shaped(item, kind.value_type, depth + 1) for key, item in value.items()}
    if isinstance(kind, inspect.ListType) and isinstance(value, list):
        return [_shaped(item, kind.item_type, depth + 1) for item in value]
    return value


def _struct(value: dict[str, Any], kind: inspect.StructType, depth: int) -> dict[str, Any]:
    fields, folded = _fields(kind.cls)
    shaped: dict[str, Any] = {}
    for key, item in value.items():
        name = key if key in fields else folded.get(key.lower())
        if name is None:
            continue
        if item is None:
            shaped.pop(name, None)
        else:
            shaped[name] = _shaped(item, fields[name], depth + 1)
    return shaped


def _member_of(value: Any, kind: inspect.UnionType) -> inspect.Type:
    """The member of a union that a container value can only mean."""
    wanted: tuple[type, ...] = (
        (inspect.StructType, inspect.DictType) if isinstance(value, dict) else (inspect.ListType,)
    )
    return next((member for member in kind.types if isinstance(member, wanted)), kind)


@lru_cache(maxsize=256)
def _described(kind: type) -> inspect.Type:
    """Kept, because msgspec works it out anew each time: of a create body in a third of the request's time."""
    return inspect.type_info(kind)


@lru_cache(maxsize=256)
def _fields(kind: type) -> tuple[dict[str, inspect.Type], dict[str, str]]:
    """Members by wire name, and wire names by their lower-case spelling."""
    described = _described(kind)
    if not isinstance(described, inspect.StructType):
        raise TypeError(f"{kind.__name__} is not a struct")
    fields = {field.encode_name: field.type for field in described.fields}
    return fields, {name.lower(): name for name in fields}
