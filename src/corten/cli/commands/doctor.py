"""``doctor``: hands over to the engine's own look at this host, which needs no running engine."""

from __future__ import annotations

import os
import sys

from corten.cli.options import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from corten.cli.options import Options
    from corten.cli.session import Session

DOCTOR_FLAGS: Final = (
    Flag("data-root", "", "string", "Directory whose disk and file system are looked at"),
    Flag("fsck", "", "bool", "Check whether a data root is whole"),
    Flag("repair", "", "bool", "With --fsck: put right what can be, and set aside what cannot"),
    Flag("json", "", "bool", "Print the findings as JSON"),
)


def doctor(session: Session, given: Options, arguments: list[str]) -> int:
    """Become ``python -I -m corten.daemon.doctor``."""
    words = [f"--{name}" for name in ("fsck", "repair", "json") if given.flag(name)]
    if given.text("data-root"):
        words += ["--data-root", given.text("data-root")]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-I", "-m", "corten.daemon.doctor", *words])
