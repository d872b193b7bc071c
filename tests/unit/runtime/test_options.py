"""Mount options, flags of the command line, the default filter: tables and their parsing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from corten.errors import InvalidArgument
from corten.linux import mount as m
from corten.runtime import flags, options, seal
from corten.runtime.seccomp import default_profile


def test_attributes_and_data() -> None:
    made = options.parse(["nosuid", "ro", "noatime", "mode=755", "size=64k", "rprivate", "newinstance"])
    assert made.attr_set == m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_RDONLY | m.MOUNT_ATTR_NOATIME
    assert made.data == [("mode", "755"), ("size", "64k"), ("newinstance", None)]
    assert made.propagation == [m.MS_PRIVATE | m.MS_REC]


def test_the_later_option_wins() -> None:
    assert options.parse(["ro", "rw"]).attr_set == 0
    assert options.parse(["rw", "ro"]).attr_set == m.MOUNT_ATTR_RDONLY
    assert options.parse(["noatime", "strictatime"]).attr_set == m.MOUNT_ATTR_STRICTATIME


def test_recursive_forms() -> None:
    made = options.parse(["rbind", "rro", "rnosuid"])
    assert (made.bind, made.recursive) == (True, True)
    assert made.rec_set == m.MOUNT_ATTR_RDONLY | m.MOUNT_ATTR_NOSUID
    assert made.attr_set == 0


def test_id_mapped_binds() -> None:
    plain, recursive = options.parse(["bind", "idmap"]), options.parse(["rbind", "ridmap"])
    assert (plain.idmap, plain.idmap_recursive) == (True, False)
    assert (recursive.idmap, recursive.idmap_recursive) == (True, True)


def test_command_line() -> None:
    parsed, rest = flags.parse(["--log=/x", "-log-format", "json", "create", "-b", "y"], flags.GLOBAL)
    assert parsed.values == {"log": "/x", "log-format": "json"}
    assert rest == ["create", "-b", "y"]
    parsed, rest = flags.parse(["-t", "-e", "A=1", "-e", "B", "id", "ls", "-l"], flags.COMMANDS["exec"])
    assert (parsed.switches, parsed.lists, rest) == ({"tty"}, {"env": ["A=1", "B"]}, ["id", "ls", "-l"])
    parsed, _ = flags.parse(["-f", "x"], flags.COMMANDS["delete"])
    assert parsed.switches == {"force"}
    with pytest.raises(InvalidArgument, match="not defined: -nope"):
        flags.parse(["--nope"], flags.GLOBAL)
    with pytest.raises(InvalidArgument, match="needs an argument"):
        flags.parse(["--log"], flags.GLOBAL)


def test_the_default_filter_follows_the_capabilities() -> None:
    def allowed(*capabilities: str) -> set[str]:
        profile = default_profile(capabilities)
        return {name for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}

    assert "mount" not in allowed()
    assert {"mount", "setns", "bpf"} <= allowed("CAP_SYS_ADMIN")
    assert "chroot" in allowed("CAP_SYS_CHROOT")
    assert {"read", "execve", "futex", "clone", "socket"} <= allowed()
    assert not {"io_uring_setup", "kexec_load", "init_module", "keyctl", "userfaultfd"} & allowed("CAP_SYS_ADMIN")


SLOW = {
    "re",
    "json",
    "enum",
    "typing",
    "asyncio",
    "dataclasses",
    "subprocess",
    "argparse",
    "logging",
    "socket",
    "pathlib",
}


def imported(module: str) -> set[str]:
    """What a fresh process has loaded after it imported ``module`` and nothing else."""
    command = seal.lean_command(module)
    code = command[-1].partition("; from ")[0] + f"; import {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-S", "-E", "-c", code], capture_output=True, text=True, check=True)
    return set(loaded.stdout.split())


@pytest.mark.parametrize(
    "module", ["main", "container", "launch", "execute", "manage", "listing", "events", "describe"]
)
def test_nothing_slow_is_imported(module: str) -> None:
    assert not SLOW & imported(f"corten.runtime.{module}")


def test_a_command_imports_what_it_needs_and_no_more() -> None:
    """Each imported module of ours costs a fresh process a fifth of a millisecond: raise a number only with a reason."""
    ours = {
        module: {name for name in imported(f"corten.runtime.{module}") if name.startswith("corten.")}
        for module in ("main", "listing", "manage", "launch", "execute")
    }
    assert "corten.runtime.container" not in ours["listing"] | ours["manage"]
    limits = {"main": 8, "listing": 25, "manage": 28, "launch": 57, "execute": 57}
    assert {module: count for module, count in limits.items() if len(ours[module]) > count} == {}
