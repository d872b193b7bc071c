"""User strings and hostile passwd files (CVE-2026-30892, CVE-2024-40635): parsing alone, no root."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import InvalidArgument
from corten.runtime import credentials

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001::/home/bob:/bin/sh\n42:x:7:8::/:/bin/sh\n"
GROUP = b"root:x:0:root\nwheel:x:10:root,bob\nbob:x:1001:\nfive:x:5:\n"


@pytest.mark.parametrize(
    ("text", "uid", "gid", "groups", "home"),
    [
        ("", 0, 0, [0, 10], "/root"),
        ("root", 0, 0, [0, 10], "/root"),
        ("bob", 1000, 1001, [10], "/home/bob"),
        ("1000", 1000, 1001, [10], "/home/bob"),
        ("bob:wheel", 1000, 10, [], "/home/bob"),
        ("bob:77", 1000, 77, [], "/home/bob"),
        ("9", 9, 0, [], ""),
        ("9:five", 9, 5, [], ""),
        ("42", 7, 8, [], "/"),
        ("bob:", 1000, 1001, [10], "/home/bob"),
        ("2147483647", 2147483647, 0, [], ""),
    ],
)
def test_what_docker_accepts(text: str, uid: int, gid: int, groups: list[int], home: str) -> None:
    found = credentials.resolve(text, PASSWD, GROUP)
    assert (found.uid, found.gid, list(found.groups), found.home) == (uid, gid, groups, home)


@pytest.mark.parametrize(
    "text",
    ["0x0", "-1", "+1", "1e3", " 0", "0 ", "4294967296", "2147483648", "\uff19", "ghost", "bob:ghost", "0:-1",
     "0:4294967296", "00x", "0\n", "9" * 400],
)  # fmt: skip
def test_what_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        credentials.resolve(text, PASSWD, GROUP)


@given(st.text(max_size=30))
def test_a_user_is_never_root_unless_it_says_so(text: str) -> None:
    """Whatever the string: uid 0 only for "", "0…0", root or its lookalike with a group."""
    try:
        found = credentials.resolve(text, PASSWD, GROUP)
    except InvalidArgument:
        return
    who = text.partition(":")[0]
    assert found.uid != 0 or who in ("", "root") or set(who) == {"0"}
    assert 0 <= found.uid <= 0x7FFFFFFF
    assert 0 <= found.gid <= 0x7FFFFFFF


@given(st.binary(max_size=300), st.binary(max_size=300), st.sampled_from(["app", "1000", "app:grp", "5:6"]))
def test_hostile_files_end_in_an_identity_or_a_refusal(passwd: bytes, group: bytes, text: str) -> None:
    try:
        found = credentials.resolve(text, passwd, group)
    except InvalidArgument:
        return
    assert 0 <= found.uid <= 0x7FFFFFFF
    assert all(0 <= gid <= 0x7FFFFFFF for gid in found.groups)


@pytest.mark.parametrize("uid", ["", "-1", "x", "0x0", "4294967296", " 0"])
def test_a_broken_line_is_not_root(uid: str) -> None:
    with pytest.raises(InvalidArgument):
        credentials.resolve("app", f"app:x:{uid}:{uid}::/:\n".encode(), b"")


def test_unknown_names_have_dockers_texts() -> None:
    with pytest.raises(InvalidArgument, match=r"^unable to find user x: no matching entries in passwd file$"):
        credentials.resolve("x", b"", b"")
    with pytest.raises(InvalidArgument, match=r"^unable to find group y: no matching entries in group file$"):
        credentials.resolve("0:y", b"", b"")


def test_capability_names_of_a_newer_client_are_left_out() -> None:
    masks, warnings = credentials.capability_masks({"bounding": ["CAP_CHOWN", "CAP_FROM_THE_FUTURE"]})
    assert masks["bounding"] == 1
    assert masks["inheritable"] == 0
    assert warnings == ["capability CAP_FROM_THE_FUTURE is not known here and is not granted"]


@pytest.mark.parametrize(
    ("text", "groups"), [("9", [0]), ("bob", [1001, 10]), ("bob:wheel", [10]), ("9:8", [8]), ("root", [0, 10])]
)
def test_cve_2022_36109_the_primary_group_is_among_the_supplementary_ones(
    text: str, groups: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_database", lambda root, path: {"/etc/passwd": PASSWD, "/etc/group": GROUP}[path])
    found = credentials.identify({"corten.user": text}, credentials.Root(-1))
    assert found.groups == groups
