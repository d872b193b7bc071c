"""``logs`` and log drivers: what is selected, how it is printed, when following ends."""

from __future__ import annotations

import re
import subprocess
import time

import pytest
from tests.compat.conftest import Client
from tests.compat.test_verbs import until

pytestmark = pytest.mark.root

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"


def test_long_lines_are_joined_and_the_last_needs_no_newline(cli: Client) -> None:
    cli("run", "--name", "long", "busybox", "sh", "-c", "head -c 40000 /dev/zero | tr '\\0' x; echo; echo; printf end")
    assert cli("logs", "long").stdout == "x" * 40000 + "\n\nend"
    assert cli("logs", "--tail", "2", "long").stdout == "\nend"
    assert cli("logs", "--tail", "3", "long").stdout == "x" * 7232 + "\n\nend"  # a piece counts as a line
    stamped = cli("logs", "-t", "long").stdout
    assert len(re.findall(STAMP, stamped)) == 5  # and each has its time
    assert re.sub(STAMP + " ", "", stamped) == "x" * 40000 + "\n\nend"


def test_details(cli: Client) -> None:
    options = [
        "-e",
        "E=v w",
        "--label",
        "l=x,y",
        "--log-opt",
        "labels=l,none",
        "--log-opt",
        "env=E",
        "--log-opt",
        "tag=t",
    ]
    cli("run", "--name", "detailed", *options, "busybox", "sh", "-c", "echo out")
    assert cli("logs", "--details", "detailed").stdout == "E=v+w,l=x%2Cy,tag=t out\n"
    assert re.fullmatch(STAMP + " E=v\\+w,l=x%2Cy,tag=t out\n", cli("logs", "-t", "--details", "detailed").stdout)
    cli("run", "--name", "plain", "busybox", "echo", "out")
    assert cli("logs", "--details", "plain").stdout == " out\n"


def test_since_and_until_select_by_the_lines_own_times(cli: Client) -> None:
    cli("run", "--name", "timed", "busybox", "sh", "-c", "for i in 1 2 3 4; do echo $i; sleep 0.05; done")
    stamps = [line.split()[0] for line in cli("logs", "-t", "timed").stdout.splitlines()]
    assert cli("logs", "--since", stamps[2], "timed").stdout == "3\n4\n"
    assert cli("logs", "--until", stamps[1], "timed").stdout == "1\n2\n"
    assert cli("logs", "--since", stamps[1], "--until", stamps[2], "timed").stdout == "2\n3\n"
    assert cli("logs", "--tail", "2", "--since", stamps[0], "--until", stamps[2], "timed").stdout == "3\n"
    assert cli("logs", "--since", "1h", "timed").stdout == "1\n2\n3\n4\n"
    assert cli("logs", "--since", "2999-01-01", "timed").stdout == ""
    assert "failed to parse value as time or duration" in cli.err("logs", "--since", "zz", "timed")
    for tail in ("all", "-1", "zz", "99"):
        assert cli("logs", "--tail", tail, "timed").stdout == "1\n2\n3\n4\n"


def test_following_ends_when_the_container_stops_though_it_starts_again(cli: Client) -> None:
    cli("run", "-d", "--name", "again", "busybox", "sh", "-c", "echo up; exec sleep 100")
    until("up", cli, "again")
    follower = subprocess.Popen(
        [*cli.program, "logs", "-f", "again"], env=cli.environment, stdout=subprocess.PIPE, text=True
    )
    assert follower.stdout is not None
    assert follower.stdout.readline() == "up\n"
    cli("restart", "-t", "0", "again")
    assert follower.communicate(timeout=20)[0] == ""
    assert follower.returncode == 0
    until("up\nup\n", cli, "again")


def test_following_crosses_rotation_and_ends_at_until(cli: Client) -> None:
    script = "i=0; while :; do i=$((i + 1)); echo $i; [ $((i % 50)) != 0 ] || sleep 0.02; done"
    limits = ["--log-opt", "max-size=20k", "--log-opt", "max-file=500", "--log-opt", "compress=true"]
    cli("run", "-d", "--name", "turns", *limits, "busybox", "sh", "-c", script)
    numbers = [int(line) for line in cli("logs", "-f", "--until", f"{time.time() + 1.5:.3f}", "turns").stdout.split()]
    assert len(numbers) > 100
    if cli.kind != "reference":  # dockerd 20.10 gives some lines twice here
        assert numbers == list(range(1, len(numbers) + 1))


def test_rotated_and_compressed_logs_are_whole(cli: Client) -> None:
    limits = ["--log-opt", "max-size=400k", "--log-opt", "max-file=20", "--log-opt", "compress=true"]
    cli("run", "--name", "packed", *limits, "busybox", "seq", "20000")
    assert cli("logs", "packed").stdout == "".join(f"{n}\n" for n in range(1, 20001))
    assert cli("logs", "--tail", "15000", "packed").stdout == "".join(f"{n}\n" for n in range(5001, 20001))


def test_local(cli: Client) -> None:
    cli("run", "--name", "near", "--log-driver", "local", "busybox", "sh", "-c", "echo out; echo err >&2; printf end")
    result = cli("logs", "near")
    assert (result.stdout, result.stderr) == ("out\nend", "err\n")
    shown = cli.out("inspect", "-f", "{{.LogPath}}|{{json .HostConfig.LogConfig}}", "near")
    assert shown == '|{"Type":"local","Config":{}}'


def test_none_cannot_be_read(cli: Client) -> None:
    cli("run", "--name", "mute", "--log-driver", "none", "busybox", "echo", "out")
    assert "configured logging driver does not support reading" in cli.err("logs", "mute")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--log-driver", "nope"], 'error looking up logging plugin nope: plugin "nope" not found'),
        (["--log-opt", "x=1"], "unknown log opt 'x' for json-file log driver"),
        (["--log-driver", "local", "--log-opt", "x=1"], "unknown log opt 'x' for log driver local"),
        (["--log-driver", "syslog", "--log-opt", "syslog-address=foo"], "syslog-address should be in form proto://address, got foo"),
        (["--log-driver", "syslog", "--log-opt", "syslog-format=zz"], "Invalid syslog format"),
        (["--log-opt", "max-size=zz"], "failed to initialize logging driver: invalid size: 'zz'"),
        (["--log-opt", "compress=true", "--log-opt", "max-size=1m"],
         "compress cannot be true when max-file is less than 2 or max-size is not set"),
        (["--log-driver", "local", "--log-opt", "max-file=1"], "compression cannot be enabled when max file count is 1"),
        (["--log-opt", "tag={{.Nope}}"], "can't evaluate field Nope in type *logger.Info"),
        (["--log-driver", "none", "--log-opt", "x=1"], "invalid logging opts for driver none"),
    ],
)  # fmt: skip
def test_refusals(cli: Client, flags: list[str], text: str) -> None:
    assert text in cli.err("run", "--name", "never", *flags, "busybox", "true", code=125)


def test_events_replay_their_history_and_end_in_the_past(cli: Client) -> None:
    who = f"who={cli.kind}"  # two kinds share an engine
    cli("create", "--name", "told", "--label", who, "busybox", "true")
    cli("rm", "told")
    now = f"{time.time():.3f}"
    words = ("events", "--until", now, "--format", "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}")
    assert cli.out(*words, "-f", f"label={who}") == "container create told\ncontainer destroy told"
    assert (
        cli.out(*words, "-f", "container=tol", "-f", "event=destroy", "-f", f"label={who}") == "container destroy told"
    )
    assert cli.out(*words, "-f", "type=volume", "-f", f"label={who}") == ""
    assert "cannot be after `until` time" in cli.err("events", "--since", "5", "--until", "2")
    line = cli.out("events", "--until", now, "-f", f"label={who}", "-f", "event=create")
    shape = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d) container create [0-9a-f]{64} \(image=busybox, name=told, "
    assert re.fullmatch(shape + who + r"\)", line)
