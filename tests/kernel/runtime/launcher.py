"""corten-runtime as one file that others can be told to execute."""

from __future__ import annotations

import shlex
from pathlib import Path

from corten.runtime import seal


def write(directory: Path) -> Path:
    """The program in ``directory``: this tree's runtime, whatever is installed."""
    program = directory / "corten-runtime"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(seal.lean_command("corten.runtime.main"))} "$@"\n')
    program.chmod(0o755)
    return program
