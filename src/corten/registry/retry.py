"""How long to wait before trying again: pure arithmetic.

Owns back-off, jitter and the reading of Retry-After. Refuses to sleep.
"""

import email.utils
import random
import time
from collections.abc import Mapping
from typing import Final

FIRST_DELAY: Final = 0.5
LAST_DELAY: Final = 15.0
#: A rate limit that ends this soon (seconds) is waited for; a longer one is reported.
PATIENCE: Final = 5.0
TRANSIENT_STATUS: Final = frozenset({408, 500, 502, 503, 504})


def delay(attempt: int, *, spread: float | None = None) -> float:
    """Seconds to wait after the failed ``attempt`` (1 is the first): doubled each time, half of it random."""
    full = min(LAST_DELAY, FIRST_DELAY * (1 << (attempt - 1)))
    return full * (0.5 + 0.5 * (random.random() if spread is None else spread))


def reset_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds until a rate limit ends, from Retry-After (RFC 9110 section 10.2.3) or RateLimit-Reset; None: unknown."""
    current = time.time() if now is None else now
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    if value:
        try:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - current)
        except ValueError:
            pass
    reset = headers.get("X-RateLimit-Reset", headers.get("RateLimit-Reset", "")).strip()
    if reset.isdigit():
        # Docker Hub gives a Unix time, the IETF draft gives seconds.
        seconds = float(reset)
        return max(0.0, seconds - current) if seconds > 1_000_000_000 else seconds
    return None
