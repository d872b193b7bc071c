"""The shim's start-up budget: what it imports, and how much memory that takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SLOW = {
    "asyncio",
    "dataclasses",
    "typing",
    "enum",
    "re",
    "json",
    "socket",
    "signal",
    "pathlib",
    "subprocess",
    "logging",
}
PROGRAM = """
import sys; sys.path.insert(0, sys.argv[1])
import corten.shim.main, corten.shim.service
print(*sorted(sys.modules))
print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))
"""


def test_the_shim_imports_nothing_slow_and_stays_small() -> None:
    root = Path(__file__).parents[3] / "src"
    command = [sys.executable, "-I", "-S", "-E", "-c", PROGRAM, str(root)]
    modules, resident = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert SLOW & set(modules.split()) == set()
    assert int(resident) < 15_000
