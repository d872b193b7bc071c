"""A fresh file system for both engines: what earlier work left on the machine's own must not show in a figure.

ext4 looks at every inode deleted in the last minutes before it gives one out, so that creating files on a disk that has
just seen many deletions costs ten times the usual. Both engines' roots lie on one new ext4 on a loop device instead.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = "24G"


@contextmanager
def fresh() -> Iterator[str]:
    """Temporary directories of this process lie on it until the block ends; gives its description for the results."""
    home = Path(tempfile.mkdtemp(prefix="bench-disk-"))
    image, mounted = home / "image", home / "mounted"
    mounted.mkdir()
    subprocess.run(["truncate", "-s", SIZE, str(image)], check=True)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", str(image)], check=True)
    result = subprocess.run(
        ["mount", "-o", "loop", str(image), str(mounted)], capture_output=True, text=True, check=False
    )
    described = "a fresh ext4 on a loop device"
    if result.returncode == 0:
        tempfile.tempdir = str(mounted)
    else:
        print(f"no loop device ({result.stderr.strip()}): the machine's own disk is used", file=sys.stderr)
        described = "the machine's own disk"
    try:
        yield described
    finally:
        tempfile.tempdir = None
        subprocess.run(["umount", str(mounted)], capture_output=True, check=False)
        image.unlink()
        mounted.rmdir()
        home.rmdir()
