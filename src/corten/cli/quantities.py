"""What users type for sizes, durations and times, as numbers; pure. The other way round is :mod:`corten.cli.units`."""

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


def timestamp(text: str, now: float) -> str:
    """``--since`` and ``--until`` as the API takes them: ``seconds.nanoseconds``.

    ``text`` is a duration before ``now`` (seconds since the epoch), an RFC 3339 time or date (local when it names no
    zone), or seconds since the epoch already.

    Raises:
        ValueError: it is none of these.
    """
    try:
        nanoseconds = int(now * 1e9) - duration(text)
    except ValueError:
        pass
    else:
        return f"{nanoseconds // SECOND}.{nanoseconds % SECOND:09d}"
    if "-" in text[1:]:
        return _calendar(text)
    seconds, _, fraction = text.partition(".")
    if not seconds.lstrip("-").isdigit() or (fraction and not fraction.isdigit()):
        raise ValueError(f'failed to parse value as time or duration: "{text}"')
    return text


def _calendar(text: str) -> str:
    from corten.cli.units import parse_time

    date, t, clock = text.replace(" ", "T").replace("t", "T").partition("T")
    zoned = clock.endswith(("Z", "z")) or "+" in clock or "-" in clock
    bare = clock.partition("+")[0].partition("-")[0].rstrip("Zz")
    zone = clock[len(bare) :] if zoned else ""
    parts = bare.split(":") if t else []
    parts += ["00"] * (3 - len(parts))
    found = parse_time(f"{date}T{':'.join(parts)}{zone or 'Z'}")
    if found is None:
        raise ValueError(f'failed to parse value as time or duration: "{text}"')
    seconds, nanoseconds = found
    if not zone:
        seconds -= _local_offset(seconds)
    return f"{seconds}.{nanoseconds:09d}"


def _local_offset(seconds: int) -> int:
    """Seconds east of UTC at a local wall clock time given as if it were UTC."""
    import time

    guess = time.localtime(seconds).tm_gmtoff
    return time.localtime(seconds - guess).tm_gmtoff
