"""docs/options.md is true: it has every option and field there is, and each is treated as it says.

``data/docker_flags.json`` was recorded from the docker CLI (tests/cli/golden/record_flags.py).
"""

from __future__ import annotations

import io
import json
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from corten.api.gates import shape_create
from corten.api.types.container import ContainerConfig, ContainerCreate, HostConfig
from corten.api.version import MAXIMUM
from corten.cli import catalog, main, options
from corten.cli.commands import create
from corten.cli.creation import body as bodies
from corten.cli.creation import flags
from corten.cli.session import CommandFailed
from corten.engine.containers.create import split
from corten.engine.mounts import parse_bind, parse_mount
from corten.engine.spec import checks, refusals
from corten.engine.spec.limits import HostLimits, check_limits
from corten.engine.spec.security import Modules
from corten.errors import CortenError
from corten.logs import driver

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/options.md").read_text()
RECORDED = json.loads((Path(__file__).parent / "data/docker_flags.json").read_text())
RUN = RECORDED["run"]


class Row(NamedTuple):
    state: str
    text: str
    field: str = ""

    @property
    def answers(self) -> list[str]:
        """The texts it promises."""
        return [text for text in re.findall(r"`([^`]+)`", self.text) if " " in text]


def section(title: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    part = TEXT.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!`)\|(?!`)", row.strip("|"))] for row in rows[2:]]


OPTIONS = {cells[0].strip("`-"): Row(cells[2], cells[3], cells[1]) for cells in section("`run` and `create`")}
CONFIG = {cells[0]: Row(cells[1], cells[2]) for cells in section("Config")}
HOST = {cells[0]: Row(cells[1], cells[2]) for cells in section("HostConfig")}
LESS = {(words.strip("`"), option.strip("`-")): text.strip("`") for words, option, text in section("Other commands")}

#: Words for options whose value is more than a number or a name; the rest is made from the kind.
WORDS = {
    "add-host": "a:1.2.3.4", "attach": "stdout", "blkio-weight": "100", "blkio-weight-device": "/dev/null:200",
    "cap-add": "NET_ADMIN", "cap-drop": "ALL", "cgroupns": "private", "cpu-period": "100000", "cpu-quota": "2000", "cpus": "1.5",
    "cpu-rt-period": "1000000", "cpu-rt-runtime": "500000", "cpuset-cpus": "0", "cpuset-mems": "0", "device": "/dev/null",
    "device-cgroup-rule": "c 1:3 rwm", "device-read-bps": "/dev/null:1mb", "device-read-iops": "/dev/null:9", "device-write-bps": "/dev/null:1mb",
    "device-write-iops": "/dev/null:9", "disable-content-trust": "true", "dns": "10.0.0.1", "env-file": "/dev/null", "expose": "80",
    "gpus": "all", "ip": "10.0.0.5", "ip6": "::5", "ipc": "private", "isolation": "default", "label-file": "/dev/null",
    "link": "x:y", "link-local-ip": "169.254.1.1", "log-driver": "json-file", "log-opt": "max-size=1m", "mac-address": "92:d0:c6:0a:29:33",
    "mount": "type=tmpfs,dst=/x", "net": "bridge", "network": "bridge", "pid": "host", "publish": "80", "pull": "missing", "restart": "always",
    "runtime": "corten", "security-opt": "no-new-privileges", "storage-opt": "size=1g", "sysctl": "net.ipv4.ip_forward=1", "ulimit": "nofile=1:2",
    "userns": "host", "uts": "host", "volume": "/a:/b", "volume-driver": "local", "platform": "linux/amd64", "stop-signal": "TERM",
    "workdir": "/w", "tmpfs": "/t", "memory-swappiness": "10",
}  # fmt: skip
BY_KIND = {
    "bytes": "64m",
    "duration": "1s",
    "int": "1",
    "int64": "1",
    "uint": "1",
    "uint16": "1",
    "map": "a=b",
    "list": "a=b",
    "string": "a",
}
BESIDE = {"memory-swap": ["--memory", "32m"], "cpu-rt-runtime": ["--cpu-rt-period", "1000000"]}
#: What is answered as the row says, where it is not the plain value.
REFUSED_WORDS = {
    "disable-content-trust": "false", "isolation": "hyperv", "log-driver": "gelf", "mount": "type=npipe,src=/a,dst=/b", "security-opt": "apparmor=x",
}  # fmt: skip
#: Rows whose answer depends on the host, on networks or on other objects, and the test that asks for it.
ELSEWHERE = {
    "cpu-rt-period": "unit/engine/test_limits.py", "cpu-rt-runtime": "unit/engine/test_limits.py",
    "gpus": "compat/test_cdi.py", "storage-opt": "compat/test_options.py", "volume-driver": "compat/test_options.py",
    **dict.fromkeys(("ip", "ip6", "link-local-ip", "network-alias"), "unit/network/test_settings.py"),
}  # fmt: skip


def words_for(name: str, value: str = "") -> list[str]:
    flag = next(flag for flag in flags.RUN if flag.long == name)
    value = value or WORDS.get(name) or BY_KIND.get(flag.kind, "")
    return [*BESIDE.get(name, []), f"--{name}" if flag.kind == "bool" and not value else f"--{name}={value}"]


def answer(words: list[str]) -> tuple[str, list[str]]:
    """Why ``run`` with these words is refused, "" when it is not; and the warnings. The host has everything."""
    given, arguments = options.parse(flags.RUN, [*words, "busybox", "true"], interspersed=False)
    try:
        document = create.checked(given, "run", lambda: bodies.build(given, arguments[0], arguments[1:]))
        return engine_answer(document)
    except (CommandFailed, CortenError) as error:
        return str(error), []


def engine_answer(document: dict[str, object]) -> tuple[str, list[str]]:
    try:
        config, host = split(shape_create(msgspec.convert(document, ContainerCreate), MAXIMUM))
        refusals.refuse(config, host)
        checks.check(config, host, Modules())
        for bind in host.Binds or ():
            parse_bind(bind, host.VolumeDriver)
        for mount in host.Mounts or ():
            parse_mount(mount)
        driver.validate(host.LogConfig.Type or "json-file", host.LogConfig.Config or {})
        return "", check_limits(host, HostLimits(processors=2, cpus="0-1", mems="0"))[1]
    except CortenError as error:
        return str(error), []


def test_every_option_has_a_row() -> None:
    ours = {flag.long for flag in flags.RUN} | {flag.long for flag in flags.CREATE}
    assert set(OPTIONS) == ours == ours | set(RUN) | set(RECORDED["create"])
    assert {row.state for row in (*OPTIONS.values(), *CONFIG.values(), *HOST.values())} <= {"yes", "if", "no"}
    assert all(row.text for row in (*OPTIONS.values(), *CONFIG.values(), *HOST.values()) if row.state != "yes")


@pytest.mark.parametrize("verb", ["run", "create", "exec"])
def test_options_are_spelled_as_dockers(verb: str) -> None:
    command, _, _ = catalog.find([verb])  # type: ignore[misc]
    ours = {flag.long: [flag.short, {"int64": "int"}.get(flag.kind, flag.kind)] for flag in main.load(command)[1]}
    assert {name: spelling for name, spelling in ours.items() if name in RECORDED[verb]} == RECORDED[verb]


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_options_are_treated_as_the_table_says(name: str) -> None:
    row = OPTIONS[name]
    refused, _ = answer(words_for(name))
    if row.state == "no":
        refused = refused or answer(words_for(name, REFUSED_WORDS[name]))[0]
        assert row.answers
        assert all(text in refused for text in row.answers)
        return
    assert refused == ""
    if not row.answers:
        return
    if name in ELSEWHERE:
        text = (ROOT / "tests" / ELSEWHERE[name]).read_text().replace("(", "").replace(")", "")
        assert any(promised in text for promised in row.answers)
        return
    assert any(text in answer(words_for(name, REFUSED_WORDS[name]))[0] for text in row.answers)


def test_every_field_has_a_row() -> None:
    assert set(CONFIG) == set(ContainerConfig.__struct_fields__)
    assert set(HOST) == set(HostConfig.__struct_fields__)
    named = {field.strip() for row in OPTIONS.values() for field in row.field.split(",") if row.field}
    assert named <= {*CONFIG, *HOST, "NetworkingConfig"}


FIELD_VALUES = {
    "KernelMemoryTCP": 5, "Cgroup": "x", "Isolation": "hyperv", "CpuCount": 1, "CpuPercent": 1,
    "IOMaximumIOps": 1, "IOMaximumBandwidth": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted({*CONFIG, *HOST}))
def test_fields_are_treated_as_the_table_says(name: str) -> None:
    row = CONFIG.get(name) or HOST[name]
    treated = name in refusals.HANDLED or name in refusals.IGNORED
    assert treated or name in refusals.REFUSED
    if name not in FIELD_VALUES:
        assert treated
        assert row.state != "no"
        return
    refused, warnings = engine_answer({"Image": "x", "HostConfig": {name: FIELD_VALUES[name]}})
    assert any(text in "\n".join([refused, *warnings]) for text in row.answers)
    assert (row.state == "no") <= bool(refused)


def commands() -> dict[str, catalog.Command]:
    """Ours that are Docker's, by Docker's words."""
    found = {
        name: command for command in catalog.COMMANDS for name in (command.words, *command.aliases) if command.code
    }
    return {words: found[words] for words in RECORDED if words in found}


@pytest.mark.parametrize("words", sorted(commands()))
def test_commands_have_all_of_dockers_options_but_those_that_are_listed(words: str) -> None:
    command = commands()[words]
    ours = {flag.long for flag in main.load(command)[1]}
    missing = {name for name in RECORDED[words] if name not in ours}
    unknown = {
        name for (listed, name), text in LESS.items() if listed == command.words and text.startswith("unknown flag")
    }
    assert missing == unknown


@pytest.mark.parametrize(("words", "option"), sorted(LESS))
def test_options_that_are_listed_are_refused(words: str, option: str) -> None:
    output = io.StringIO()
    arguments = [option for option in ("x",) if words != "image ls"]
    kind = RECORDED[words][option][1]
    given = [f"--{option}"] if kind == "bool" else [f"--{option}=1"]
    with redirect_stdout(output), redirect_stderr(output):
        code = main.main(["-H", "unix:///nowhere", *words.split(), *given, *arguments])
    assert code != 0
    assert LESS[words, option] in output.getvalue()


def test_commands_that_are_not_there_are_listed() -> None:
    part = TEXT.split("these are not there:", 1)[1].partition("Those that")[0]
    assert set(re.findall(r"`([^`]+)`", part)) == set(RECORDED) - set(commands())
