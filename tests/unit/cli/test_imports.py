"""What the start of a command may import: its time is spent there. A fresh interpreter tells."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: Each costs from a quarter of a `ps` to several of them.
SLOW = {
    "argparse", "asyncio", "collections", "dataclasses", "datetime", "email", "enum", "functools", "http", "http.client",
    "inspect", "json", "json.decoder", "logging", "msgspec", "pathlib", "re", "shutil", "signal", "socket", "ssl", "subprocess",
    "tempfile", "threading", "typing", "urllib", "urllib.parse",
}  # fmt: skip
#: A server is not needed: the connection is refused after everything on the way to it was imported.
PROGRAM = """
import sys
sys.path.insert(0, {source!r})
before = set(sys.modules)
from corten.cli import main
code = main.main({words!r})
print(code, *sorted(set(sys.modules) - before), file=sys.__stderr__)
"""


@pytest.mark.parametrize(
    "words",
    [["ps"], ["ps", "-a", "-q"], ["run", "--rm", "busybox", "true"], ["exec", "x", "true"], ["rm", "x"], ["logs", "x"]],
    ids=lambda words: words[0],
)
def test_fast_paths_import_nothing_slow(words, tmp_path):
    source = str(Path(__file__).parents[3] / "src")
    program = PROGRAM.format(source=source, words=["-H", f"unix://{tmp_path}/none", "--config", str(tmp_path), *words])
    done = subprocess.run([sys.executable, "-ISE", "-c", program], capture_output=True, text=True, check=True)
    assert "Cannot connect to the Corten engine" in done.stderr
    code, *imported = done.stderr.splitlines()[-1].split()
    assert code in {"1", "125"}
    assert set(imported) & SLOW == set()
    assert "corten.client.transport" in imported
