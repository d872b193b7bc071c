"""Go's ``fmt.Sprintf`` for template values; pure.

Verbs v s q d x X o b c U t f F e E g G T, the flags ``+-# 0``, width and precision.
"""

from __future__ import annotations

from corten.template.lexer import quote
from corten.template.values import show, show_float, type_name

FLAGS = "+-# 0"
# What Go takes for a width or precision (fmt, tooLarge).
_LARGEST = 1_000_000
_DIGITS = 7


def sprintf(pattern: str, values: list[object]) -> str:
    """The pattern with its verbs replaced; wrong verbs and counts are shown in the text as Go does."""
    pieces: list[str] = []
    taken = 0
    position = 0
    while position < len(pattern):
        start = pattern.find("%", position)
        if start < 0:
            break
        pieces.append(pattern[position:start])
        position = start + 1
        flags, width, precision, position, used = _directive(pattern, position, values[taken:])
        taken += used
        if position >= len(pattern):
            pieces.append("%!(NOVERB)")
            break
        verb = pattern[position]
        position += 1
        if verb == "%":
            pieces.append("%")
        elif taken >= len(values):
            pieces.append(f"%!{verb}(MISSING)")
        else:
            pieces.append(_pad(_verb(verb, values[taken], flags, precision), width, flags, values[taken]))
            taken += 1
    else:
        start = position
    pieces.append(pattern[position:] if position < len(pattern) else "")
    if taken < len(values):
        extra = ", ".join(f"{type_name(value)}={show(value)}" for value in values[taken:])
        pieces.append(f"%!(EXTRA {extra})")
    return "".join(pieces)


def _directive(pattern: str, position: int, values: list[object]) -> tuple[str, int, int, int, int]:
    """Flags, width, precision (-1: none), where the verb is, and how many values ``*`` took."""
    start = position
    while position < len(pattern) and pattern[position] in FLAGS:
        position += 1
    flags = pattern[start:position]
    used = 0
    numbers = [0, -1]
    for index in (0, 1):
        if index == 1:
            if position >= len(pattern) or pattern[position] != ".":
                break
            position += 1
            numbers[1] = 0
        if pattern[position : position + 1] == "*":
            position += 1
            value = values[used] if used < len(values) else 0
            used += 1
            numbers[index] = value if isinstance(value, int) and abs(value) <= _LARGEST else 0
            continue
        start = position
        while position < len(pattern) and pattern[position].isdigit():
            position += 1
        if position > start:
            digits = pattern[start:position]
            if len(digits) > _DIGITS or int(digits) > _LARGEST:  # as Go: the rest is no directive
                return flags, 0, -1, len(pattern), used
            numbers[index] = int(digits)
    if numbers[0] < 0:
        flags, numbers[0] = flags + "-", -numbers[0]
    return flags, numbers[0], numbers[1], position, used


def _verb(verb: str, value: object, flags: str, precision: int) -> str:
    if verb == "T":
        return type_name(value)
    if verb == "v":
        return _general(value, flags)
    if isinstance(value, list) and verb in "sdqxXfgetob":
        return f"[{' '.join(_verb(verb, item, flags, precision) for item in value)}]"
    text = None
    if isinstance(value, bool):
        text = show(value) if verb == "t" else None
    elif isinstance(value, int):
        text = _integer(verb, value, flags)
    elif isinstance(value, float):
        text = _float(verb, value, flags, precision)
    elif isinstance(value, str):
        text = _string(verb, value, flags, precision)
    elif value is None:
        return f"%!{verb}(<nil>)"
    elif verb == "s":
        text = show(value)
    return f"%!{verb}({type_name(value)}={show(value)})" if text is None else text


def _general(value: object, flags: str) -> str:
    if "#" in flags and isinstance(value, str):
        return quote(value)
    return show(value)


def _sign(value: float, flags: str) -> str:
    return "-" if value < 0 else "+" if "+" in flags else " " if " " in flags else ""


def _integer(verb: str, value: int, flags: str) -> str | None:
    sign, size, sharp = _sign(value, flags), abs(value), "#" in flags
    if verb == "d":
        return f"{sign}{size}"
    if verb in "xXob":
        prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}[verb] if sharp else ""
        return f"{sign}{prefix}{size:{verb}}"
    if verb == "c":
        return chr(value)
    if verb == "q":
        return f"'{chr(value)}'"
    return f"U+{value:04X}" if verb == "U" else None


def _float(verb: str, value: float, flags: str, precision: int) -> str | None:
    sign, size = _sign(value, flags), abs(value)
    if verb in "fFeE":
        return f"{sign}{size:.{6 if precision < 0 else precision}{verb}}"
    if verb in "gG":
        return f"{sign}{show_float(size) if precision < 0 else f'{size:.{precision}{verb}}'}"
    return None


def _string(verb: str, value: str, flags: str, precision: int) -> str | None:
    if verb == "s":
        return value if precision < 0 else value[:precision]
    if verb == "q":
        return f"`{value}`" if "#" in flags and "`" not in value else quote(value)
    if verb in "xX":
        text = value.encode("utf-8", "surrogateescape").hex()
        return text.upper() if verb == "X" else text
    return None


def _pad(text: str, width: int, flags: str, value: object) -> str:
    missing = width - len(text)
    if missing <= 0:
        return text
    if "-" in flags:
        return text + " " * missing
    if "0" in flags:
        signed = isinstance(value, (int, float)) and text[:1] in ("+", "-")
        return (text[0] + "0" * missing + text[1:]) if signed else "0" * missing + text
    return " " * missing + text
