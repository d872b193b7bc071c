"""What users type and read: names, signals, times, detach keys, mounts, statuses."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.api.types.container import BindOptions, ImageOptions, Mount, TmpfsOptions, VolumeOptions
from corten.engine.containers import render
from corten.engine.containers.framing import frame
from corten.engine.containers.top import select
from corten.engine.mounts import merge_mounts, parse_bind, parse_mount, parse_volumes_from, tmpfs_options
from corten.engine.names import check_name, generate_name
from corten.engine.record import State
from corten.engine.signals import parse_signal, sendable
from corten.engine.streams import DEFAULT_DETACH_KEYS, parse_detach_keys
from corten.engine.times import parse_duration, parse_time
from corten.errors import InvalidArgument, NotSupported


@pytest.mark.parametrize("name", ["a", "-ab", "a b", "", "a/b", "ä1", "ab\n"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"only \[a-zA-Z0-9\]\[a-zA-Z0-9_.-\] are allowed"):
        check_name(name)


def test_a_name_may_begin_with_a_slash() -> None:
    assert check_name("/web.1") == "web.1"


def test_generated_names_are_valid_and_differ_from_taken_ones() -> None:
    taken: set[str] = set()
    for _ in range(300):
        name = generate_name(taken.__contains__)
        assert check_name(name) == name
        assert name not in taken
        taken.add(name)


def test_a_name_is_found_when_every_plain_one_is_taken() -> None:
    assert generate_name(lambda name: name == "able_ammann", lambda words: words[0]).startswith("able_ammann")


@pytest.mark.parametrize(
    ("text", "number"), [("9", 9), ("KILL", 9), ("sigterm", 15), ("SIGRTMIN+3", 37), ("RTMAX", 64)]
)
def test_signals(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["0", "+0", "SIG", "NOPE", "9x", " 9", "9\n", "1e3", "1_0", "٩", "9" * 20])
def test_no_signals(text: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(f"invalid signal: {text}")):
        parse_signal(text)


@pytest.mark.parametrize("text", ["65", "-1", "99", "32", "33"])
def test_numbers_that_linux_does_not_send(text: str) -> None:
    assert parse_signal(text) == int(text)
    with pytest.raises(InvalidArgument, match=f"the linux daemon does not support signal {text}"):
        sendable(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1700000000", 1_700_000_000 * 10**9),
        ("1700000000.5", 1_700_000_000_500_000_000),
        ("1700000000.000000001", 1_700_000_000_000_000_001),
        ("2023-11-14T22:13:20Z", 1_700_000_000 * 10**9),
        ("2023-11-14T22:13:20", 1_700_000_000 * 10**9),
        ("2023-11-15T00:13:20+02:00", 1_700_000_000 * 10**9),
        ("1h30m", 10**18 - 5400 * 10**9),
    ],
)
def test_times(text: str, expected: int) -> None:
    assert parse_time(text, 10**18) == expected


@pytest.mark.parametrize("text", ["soon", "1x", "2023-99-99", ""])
def test_no_times(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_time(text, 0)
    with pytest.raises(InvalidArgument):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "keys"), [("", DEFAULT_DETACH_KEYS), ("ctrl-a,d", (1, 100)), ("ctrl-@,ctrl-_", (0, 31)), ("ctrl-[", (27,))]
)
def test_detach_keys(text: str, keys: tuple[int, ...]) -> None:
    assert parse_detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "ctrl-p,", "alt-x"])
def test_no_detach_keys(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_detach_keys(text)


@pytest.mark.parametrize(
    ("raw", "kind", "source", "name", "destination", "read_only", "propagation"),
    [
        ("/a:/b", "bind", "/a", "", "/b", False, "rprivate"),
        ("/a/../c:/b/:ro", "bind", "/c", "", "/b", True, "rprivate"),
        ("/a:/b:ro,z,rshared", "bind", "/a", "", "/b", True, "rshared"),
        ("vol:/b", "volume", "", "vol", "/b", False, ""),
        ("vol:/b:nocopy", "volume", "", "vol", "/b", False, ""),
        ("/b", "volume", "", "", "/b", False, ""),
    ],
)
def test_binds(
    raw: str, kind: str, source: str, name: str, destination: str, read_only: bool, propagation: str
) -> None:
    point = parse_bind(raw)
    assert (point.type, point.source, point.name, point.destination) == (kind, source, name, destination)
    assert (point.read_only, point.propagation) == (read_only, propagation)
    assert point.anonymous == (kind == "volume" and not name)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("", "invalid volume specification: ''"),
        (":/a", "invalid volume specification: ':/a'"),
        ("/a:ro", "invalid volume specification: '/a:ro'"),
        ("/a:/b:c:d", "invalid volume specification: '/a:/b:c:d'"),
        ("/a:/b:rw,ro", "invalid mode: rw,ro"),
        ("/a:/b:what", "invalid mode: what"),
        ("/a:b", "invalid mount path: 'b' mount path must be absolute"),
        ("/a:/", "invalid specification: destination can't be '/'"),
        ("/a:/b:nocopy", "field VolumeOptions must not be specified"),
        ("vol:/b:shared", "field BindOptions must not be specified"),
    ],
)
def test_wrong_binds(raw: str, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_bind(raw)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("mount", "text"),
    [
        (Mount(Type="bind", Source="/a"), 'invalid mount config for type "bind": field Target must not be empty'),
        (Mount(Type="bind", Target="/a"), 'invalid mount config for type "bind": field Source must not be empty'),
        (Mount(Type="bind", Source="a", Target="/a"), "invalid mount path: 'a' mount path must be absolute"),
        (
            Mount(Type="bind", Source="/a", Target="/a", VolumeOptions=VolumeOptions()),
            "field VolumeOptions must not be specified",
        ),
        (Mount(Type="bind", Source="/a", Target="/a", BindOptions=BindOptions("odd")), "invalid propagation mode: odd"),
        (Mount(Type="volume", Target="/a", ReadOnly=True), "must not set ReadOnly mode when using anonymous volumes"),
        (Mount(Type="tmpfs", Source="x", Target="/a"), "field Source must not be specified"),
        (Mount(Type="tmpfs", Target="/a", TmpfsOptions=TmpfsOptions(Options=[["suid"]])), "invalid option: suid"),
        (Mount(Type="odd", Target="/a"), 'invalid mount config for type "odd": mount type unknown'),
    ],
)
def test_wrong_mounts(mount: Mount, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_mount(mount)
    assert text in str(caught.value)


def test_image_mounts_are_read_only() -> None:
    point = parse_mount(Mount(Type="image", Source="x", Target="/a", ImageOptions=ImageOptions(Subpath="b/c")))
    assert (point.type, point.source, point.subpath, point.read_only) == ("image", "x", "b/c", True)
    for wrong in (
        Mount(Type="image", Target="/a"),
        Mount(Type="image", Source="x", Target="/a", TmpfsOptions=TmpfsOptions()),
    ):
        with pytest.raises(InvalidArgument, match='invalid mount config for type "image": field'):
            parse_mount(wrong)


def test_npipe_mounts_are_not_supported() -> None:
    with pytest.raises(NotSupported, match="--mount type=npipe"):
        parse_mount(Mount(Type="npipe", Source="x", Target="/a"))


def test_two_mounts_on_one_place() -> None:
    with pytest.raises(InvalidArgument, match="Duplicate mount point: /a"):
        merge_mounts([], [parse_bind("/x:/a"), parse_bind("/y:/a/")], [], [], [])


def test_an_image_volume_yields_to_what_the_client_mounts_there() -> None:
    (relative,) = merge_mounts([], [], [], ["../../a/../b"], [])
    assert relative.destination == "/b"
    with pytest.raises(InvalidArgument, match="destination can't be '/'"):
        merge_mounts([], [], [], [".."], [])
    points = merge_mounts([parse_bind("/from:/f")], [parse_bind("/x:/a")], [], ["/a", "/b", "/f", "/t"], ["/t"])
    assert [(point.destination, point.type) for point in points] == [("/f", "bind"), ("/a", "bind"), ("/b", "volume")]


@pytest.mark.parametrize(("text", "expected"), [("web", ("web", "rw")), ("web:ro", ("web", "ro"))])
def test_volumes_from(text: str, expected: tuple[str, str]) -> None:
    assert parse_volumes_from(text) == expected


def test_volumes_from_takes_no_propagation() -> None:
    with pytest.raises(InvalidArgument, match="invalid mode: shared"):
        parse_volumes_from("web:shared")


def test_later_tmpfs_options_replace_earlier_ones() -> None:
    assert tmpfs_options(["noexec", "nosuid"], ["exec", "size=1m", "size=2m"]) == ["nosuid", "exec", "size=2m"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (119, "About a minute"),
        (120, "2 minutes"), (3599, "59 minutes"), (3600, "About an hour"), (7200, "2 hours"), (86400 * 2, "2 days"),
        (86400 * 14, "2 weeks"), (86400 * 61, "2 months"), (86400 * 365 * 2, "2 years"),
    ],
)  # fmt: skip
def test_durations(seconds: int, text: str) -> None:
    assert render.duration(seconds * 10**9) == text


@given(st.integers(0, 10**11), st.integers(0, 10**11))
def test_durations_never_shrink_to_nothing(first: int, second: int) -> None:
    assert all(render.duration(value) for value in (first, second))


def test_statuses_as_ps_prints_them() -> None:
    running = State().started(1, 100 * 10**9, 1)
    assert render.status_text(State(), 0) == "Created"
    assert render.status_text(running, 160 * 10**9) == "Up About a minute"
    assert render.status_text(running.exited(3, 200 * 10**9), 205 * 10**9) == "Exited (3) 5 seconds ago"


@pytest.mark.parametrize(
    ("when", "text"),
    [(0, "0001-01-01T00:00:00Z"), (10**18, "2001-09-09T01:46:40Z"), (10**18 + 120_000_000, "2001-09-09T01:46:40.12Z")],
)
def test_timestamps_are_gos(when: int, text: str) -> None:
    assert render.timestamp(when) == text


def test_frames() -> None:
    assert frame("stdout", b"abc") == b"\x01\0\0\0\0\0\0\x03abc"
    assert frame("stderr", b"") == b"\x02\0\0\0\0\0\0\0"


def test_top_keeps_the_containers_rows_and_words_in_the_last_column() -> None:
    answer = select("UID  PID CMD\nroot 1 init\nuser 22 sleep 10 20\n", {22})
    assert answer.Titles == ["UID", "PID", "CMD"]
    assert answer.Processes == [["user", "22", "sleep 10 20"]]


def test_top_without_a_pid_column() -> None:
    with pytest.raises(InvalidArgument, match="Couldn't find PID field in ps output"):
        select("CMD\ninit\n", {1})


def test_every_signal_number_has_a_spelling() -> None:
    assert {parse_signal(str(number)) for number in range(1, 65)} == set(range(1, 65))
    assert len(set(itertools.chain([parse_signal("CHLD")], [parse_signal("CLD")]))) == 1
