"""Log options: accepted and refused with Docker's words (recorded from dockerd 20.10)."""

from __future__ import annotations

import pytest

from corten.errors import InvalidArgument, NotSupported
from corten.logs import driver


@pytest.mark.parametrize(
    ("name", "options", "limits"),
    [
        ("json-file", {}, (20_000_000, 5, False)),
        ("json-file", {"max-size": "10m"}, (10_000_000, 1, False)),
        ("json-file", {"max-size": "1.5k", "max-file": "3"}, (1500, 3, False)),
        ("json-file", {"max-size": "-1"}, (0, 1, False)),
        ("json-file", {"max-file": "2"}, (20_000_000, 2, False)),
        ("json-file", {"max-size": "100", "compress": "false"}, (100, 1, False)),
        ("json-file", {"max-size": "10KB"}, (10_000, 1, False)),
        ("json-file", {"max-size": "1m", "max-file": "2", "compress": "true"}, (1_000_000, 2, True)),
        ("local", {}, (20_000_000, 5, True)),
        ("local", {"max-size": "1m", "compress": "false", "max-file": "1"}, (1_000_000, 1, False)),
        ("syslog", {"tag": "x"}, (20_000_000, 5, True)),
        ("journald", {"cache-max-size": "2m", "cache-max-file": "3", "cache-compress": "0"}, (2_000_000, 3, False)),
    ],
)
def test_limits(name: str, options: dict[str, str], limits: tuple[int, int, bool]) -> None:
    driver.validate(name, options)
    assert driver.file_limits(name, options) == limits


BAD_START = "failed to initialize logging driver: "


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("nope", {}, 'error looking up logging plugin nope: plugin "nope" not found'),
        ("json-file", {"x": "1"}, "unknown log opt 'x' for json-file log driver"),
        ("local", {"tag": "1"}, "unknown log opt 'tag' for log driver local"),
        ("journald", {"max-size": "1"}, "unknown log opt 'max-size' for journald log driver"),
        ("syslog", {"x": "1"}, "unknown log opt 'x' for syslog log driver"),
        ("json-file", {"max-file": "0"}, BAD_START + "max-file cannot be less than 1"),
        ("json-file", {"max-file": "a"}, BAD_START + 'strconv.Atoi: parsing "a": invalid syntax'),
        ("json-file", {"max-size": "ten"}, BAD_START + "invalid size: 'ten'"),
        ("json-file", {"max-size": "0"}, BAD_START + "max-size must be a positive number"),
        ("json-file", {"mode": "x"}, "logger: logging mode not supported: x"),
        (
            "json-file",
            {"max-buffer-size": "1m"},
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            "json-file",
            {"mode": "non-blocking", "max-buffer-size": "zz"},
            "error parsing option max-buffer-size: invalid size: 'zz'",
        ),
        ("json-file", {"compress": "yes"}, BAD_START + 'strconv.ParseBool: parsing "yes": invalid syntax'),
        (
            "json-file",
            {"compress": "true", "max-size": "1m"},
            BAD_START + "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        ("local", {"max-size": "zz"}, BAD_START + "invalid value for max-size: zz: invalid size: 'zz'"),
        (
            "local",
            {"max-file": "zz"},
            BAD_START + 'invalid value for max-file: zz: strconv.Atoi: parsing "zz": invalid syntax',
        ),
        (
            "local",
            {"compress": "zz"},
            BAD_START + 'error reading compress log option: strconv.ParseBool: parsing "zz": invalid syntax',
        ),
        ("local", {"max-file": "1"}, BAD_START + "compression cannot be enabled when max file count is 1"),
        ("syslog", {"cache-disabled": "zz"}, "invalid value for option cache-disabled: zz"),
        ("syslog", {"syslog-address": "foo"}, "syslog-address should be in form proto://address, got foo"),
        ("syslog", {"syslog-address": "x://y"}, "syslog-address should be in form proto://address, got x://y"),
        ("syslog", {"syslog-facility": "zz"}, "invalid syslog facility"),
        ("syslog", {"syslog-facility": "24"}, "invalid syslog facility"),
        ("syslog", {"syslog-format": "zz"}, "Invalid syslog format"),
    ],
)
def test_refused(name: str, options: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        driver.validate(name, options)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("gelf", {}, "log driver gelf is not supported"),
        ("syslog", {"syslog-address": "tcp+tls://127.0.0.1:6514"}, "syslog-address tcp+tls is not supported"),
        ("syslog", {"syslog-tls-ca-cert": "/ca.pem"}, "log opt syslog-tls-ca-cert is not supported"),
    ],
)
def test_what_is_not_built_is_said_by_name(name: str, options: dict[str, str], text: str) -> None:
    with pytest.raises(NotSupported) as caught:
        driver.validate(name, options)
    assert str(caught.value) == text


def test_none_takes_no_notice_of_options() -> None:
    driver.validate("none", {"max-size": "1m", "mode": "x"})


@pytest.mark.parametrize(
    ("name", "options", "kept"),
    [
        ("none", {}, False),
        ("json-file", {}, True),
        ("local", {}, True),
        ("syslog", {}, True),
        ("syslog", {"cache-disabled": "true"}, False),
        ("json-file", {"cache-disabled": "true"}, True),
    ],
)
def test_what_can_be_read_back(name: str, options: dict[str, str], kept: bool) -> None:
    assert driver.has_file(name, options) is kept


def test_buffer_sizes_are_binary() -> None:
    assert driver.buffer_size({}) == 0
    assert driver.buffer_size({"mode": "blocking"}) == 0
    assert driver.buffer_size({"mode": "non-blocking"}) == 1 << 20
    assert driver.buffer_size({"mode": "non-blocking", "max-buffer-size": "4k"}) == 4096
