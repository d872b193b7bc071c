"""What tests on the kernel share: a busybox tree and bundles that clean up behind themselves."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corten.cgroup import hierarchy
from corten.cgroup.group import Group
from corten.runtime import describe, seal
from corten.runtime.seccomp import default_profile

DOCKER_CAPABILITIES = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
]  # fmt: skip
APPLETS = [
    "sh", "cat", "ls", "id", "sleep", "true", "false", "echo", "ps", "grep", "mount", "umount", "pwd", "hostname",
    "env", "tty", "stty", "test", "kill", "touch", "mkdir", "ln", "rm", "stat", "readlink", "find", "wc", "head",
    "dd", "chmod", "mknod", "ulimit", "umask", "awk", "seq", "od", "tr", "cut", "nslookup", "ip", "sync", "mv",
    "usleep", "printf",
]  # fmt: skip


def make_busybox_tree(root: Path) -> Path:
    """A root file system of busybox and nothing else."""
    (root / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    for name in ("proc", "sys", "dev", "etc", "root", "run", "var"):
        (root / name).mkdir()
    (root / "tmp").mkdir(mode=0o1777)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nwheel:x:10:root,bob\nbob:x:1000:\nstaff:x:50:\n")
    return root


@pytest.fixture
def busybox_rootfs(tmp_path: Path) -> Path:
    """A fresh busybox tree."""
    return make_busybox_tree(tmp_path / "rootfs")


class Bundle:
    """An OCI bundle on the busybox tree and the containers a test makes of it with corten-runtime."""

    def __init__(self, directory: Path, rootfs: Path) -> None:
        self.directory = directory
        self.rootfs = rootfs
        self.parent = f"/corten-test-{secrets.token_hex(4)}"
        self.separator = "/"
        self.root = directory / "state"
        self.ids: list[str] = []
        self.command = [*seal.lean_command("corten.runtime.main"), "--root", str(self.root)]
        self.spec: dict[str, Any] = describe.template()
        process = self.spec["process"]
        process["terminal"] = False
        process["noNewPrivileges"] = False
        process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), DOCKER_CAPABILITIES)
        process["rlimits"] = []
        self.spec["mounts"][0]["options"] = ["nosuid", "noexec", "nodev"]
        self.spec["root"] = {"path": str(rootfs), "readonly": False}
        self.spec["linux"]["seccomp"] = default_profile(DOCKER_CAPABILITIES)

    @property
    def process(self) -> dict[str, Any]:
        return self.spec["process"]

    @property
    def linux(self) -> dict[str, Any]:
        return self.spec["linux"]

    def write(self) -> str:
        """config.json for one more container; returns its id."""
        identifier = f"c{len(self.ids)}"
        self.ids.append(identifier)
        self.spec["linux"]["cgroupsPath"] = f"{self.parent}{self.separator}{identifier}"
        (self.directory / "config.json").write_text(json.dumps(self.spec))
        return identifier

    def call(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """One corten-runtime command."""
        options = {
            "capture_output": True,
            "text": True,
            "timeout": 60,
            "cwd": self.directory,
            "stdin": subprocess.DEVNULL,
            **options,
        }
        return subprocess.run([*self.command, *arguments], check=False, **options)

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """``run`` with these process arguments."""
        self.process["args"] = list(arguments)
        return self.call("run", "-b", str(self.directory), self.write(), **options)

    def shell(self, script: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.run("sh", "-c", script, **options)

    def start(self, script: str = "while :; do sleep 1; done") -> str:
        """A container that stays."""
        self.process["args"] = ["sh", "-c", script]
        identifier = self.write()
        quiet = {"capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        assert self.call("create", "-b", str(self.directory), identifier, **quiet).returncode == 0
        assert self.call("start", identifier).returncode == 0
        return identifier

    def exec(self, identifier: str, *arguments: str, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return self.call("exec", *flags, identifier, *arguments)

    def state(self, identifier: str) -> dict[str, Any]:
        return json.loads(self.call("state", identifier).stdout)

    def close(self) -> None:
        for identifier in self.ids:
            self.call("delete", "--force", identifier)
        Group(hierarchy.detect(), self.parent).delete()


@pytest.fixture
def bundle(tmp_path: Path, busybox_rootfs: Path) -> Iterator[Bundle]:
    directory = tmp_path / "bundle"
    directory.mkdir()
    made = Bundle(directory, busybox_rootfs)
    yield made
    made.close()


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host that no container may read or change."""
    path = tmp_path / "canary"
    path.mkdir()
    (path / "secret").write_text("canary")
    before = sorted((str(p.relative_to(path)), os.lstat(p).st_mtime_ns) for p in path.rglob("*"))
    yield path
    assert sorted((str(p.relative_to(path)), os.lstat(p).st_mtime_ns) for p in path.rglob("*")) == before
