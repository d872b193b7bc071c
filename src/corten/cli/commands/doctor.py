"""``doctor``: hands over to the engine's own look at this host, which needs no running engine."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from corten.cli.options import Options
    from corten.cli.session import Session

DOCTOR_FLAGS: Final = ()


def doctor(session: Session, given: Options, arguments: list[str]) -> int:
    """Become ``python -I -m corten.daemon.doctor`` with the words of the command line."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-I", "-m", "corten.daemon.doctor", *arguments])
