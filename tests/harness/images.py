"""Root file systems made on the spot."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path


def busybox_tar(target: Path) -> Path:
    """A tar of Debian's busybox-static: every applet linked, a small /etc/passwd, and world-writable /tmp."""
    program = shutil.which("busybox")
    assert program is not None, "busybox-static is not installed"
    with tempfile.TemporaryDirectory(prefix="corten-busybox-") as name:
        root = Path(name)
        root.chmod(0o755)
        for folder in ("bin", "etc", "tmp", "root", "home", "var", "usr/bin", "usr/sbin", "sbin"):
            (root / folder).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        shutil.copy2(program, root / "bin/busybox")
        applets = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split()
        for applet in applets:
            if applet != "busybox":
                (root / "bin" / applet).symlink_to("busybox")
        (root / "etc/passwd").write_text(
            "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nuser:x:1000:1000::/home:/bin/sh\n"
        )
        (root / "etc/group").write_text("root:x:0:\ndaemon:x:1:\nuser:x:1000:\nextra:x:2000:user\n")
        subprocess.run(
            ["tar", "--numeric-owner", "--owner=0", "--group=0", "-C", name, "-cf", str(target), "."], check=True
        )
    return target
