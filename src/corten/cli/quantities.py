"""What users type for sizes and durations, as numbers; pure. The other way round is :mod:`corten.cli.units`."""

from __future__ import annotations

MULTIPLES = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
NANOSECOND = 1
MICROSECOND = 1000 * NANOSECOND
MILLISECOND = 1000 * MICROSECOND
SECOND = 1000 * MILLISECOND
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DURATIONS = {
    "ns": NANOSECOND, "us": MICROSECOND, "µs": MICROSECOND, "μs": MICROSECOND, "ms": MILLISECOND,
    "s": SECOND, "m": MINUTE, "h": HOUR,
}  # fmt: skip


def size(text: str) -> int:
    """Bytes of ``64m``, ``1.5g``, ``512`` (powers of 1024).

    Raises:
        ValueError: Docker's text.
    """
    number = text.rstrip("bBiIkKmMgGtTpP ")
    unit = text[len(number) :].strip().lower().removesuffix("b").removesuffix("i")
    try:
        value = float(number)
    except ValueError:
        raise ValueError(f"invalid size: '{text}'") from None
    if value < 0 or value != value or unit not in MULTIPLES or number != number.strip() or "_" in number:
        raise ValueError(f"invalid size: '{text}'")
    return int(value * 1024 ** MULTIPLES[unit])


def size_or_unlimited(text: str) -> int:
    """As :func:`size`; ``-1`` means no limit."""
    return -1 if text == "-1" else size(text)


def nano_cpus(text: str) -> int:
    """Billionths of a CPU of ``1.5``, ``.25`` or ``1/2``.

    Raises:
        ValueError: Docker's text.
    """
    whole, slash, divisor = text.partition("/")
    try:
        integer, _, fraction = whole.partition(".")
        if slash:
            scaled = int(whole) * 10**9 / int(divisor)
            exact = int(scaled)
            rest = scaled != exact
        else:
            sign = -1 if integer.startswith("-") else 1
            digits = fraction.rstrip("0")
            if not (integer.lstrip("+-") + fraction).isdigit():
                raise ValueError
            exact = int(integer or "0") * 10**9 + sign * int(digits[:9].ljust(9, "0") or "0")
            rest = len(digits) > 9
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"failed to parse {text} as a rational number") from None
    if rest:
        raise ValueError("value is too precise")
    return exact


def duration(text: str) -> int:
    """Nanoseconds of a Go duration (``1m30s``, ``500ms``, ``0``).

    Raises:
        ValueError: Go's text.
    """
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    total = 0
    while rest:
        number, rest = _span(rest, of_digits=True)
        unit, rest = _span(rest, of_digits=False)
        if number in {"", "."} or number.count(".") > 1:
            raise ValueError(f'time: invalid duration "{text}"')
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in DURATIONS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        total += round(float(number) * DURATIONS[unit]) if "." in number else int(number) * DURATIONS[unit]
    return -total if text[0] == "-" else total


def _span(text: str, *, of_digits: bool) -> tuple[str, str]:
    end = 0
    while end < len(text) and (text[end].isdigit() or text[end] == ".") == of_digits:
        end += 1
    return text[:end], text[end:]
