"""Log options: accepted and refused with Docker's words."""

from __future__ import annotations

import pytest

from corten.errors import InvalidArgument, NotSupported
from corten.logs import driver


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({}, (20_000_000, 5)),
        ({"max-size": "10m"}, (10_000_000, 1)),
        ({"max-size": "1.5k", "max-file": "3"}, (1500, 3)),
        ({"max-size": "-1"}, (0, 1)),
        ({"max-file": "2"}, (20_000_000, 2)),
        ({"max-size": "100", "compress": "false"}, (100, 1)),
        ({"max-size": "10KB"}, (10_000, 1)),
    ],
)
def test_limits(options: dict[str, str], limits: tuple[int, int]) -> None:
    driver.validate("json-file", options)
    assert driver.json_file_limits(options) == limits


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("nope", {}, 'error looking up logging plugin nope: plugin "nope" not found'),
        ("json-file", {"x": "1"}, "unknown log opt 'x' for json-file log driver"),
        ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
        ("json-file", {"max-file": "a"}, 'strconv.Atoi: parsing "a": invalid syntax'),
        ("json-file", {"max-size": "ten"}, "invalid size: 'ten'"),
        ("json-file", {"max-size": "0"}, "max-size must be a positive number: 0"),
        ("json-file", {"mode": "x"}, "logger: logging mode not supported: x"),
        (
            "json-file",
            {"max-buffer-size": "1m"},
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        ("json-file", {"compress": "yes"}, 'strconv.ParseBool: parsing "yes": invalid syntax'),
        (
            "json-file",
            {"compress": "true", "max-size": "1m"},
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
    ],
)
def test_refused(name: str, options: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        driver.validate(name, options)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("local", {}),
        ("json-file", {"tag": "x"}),
        ("json-file", {"labels-regex": "x"}),
        ("json-file", {"mode": "non-blocking"}),
        ("json-file", {"compress": "true", "max-size": "1m", "max-file": "2"}),
    ],
)
def test_not_built_yet_is_said(name: str, options: dict[str, str]) -> None:
    with pytest.raises(NotSupported):
        driver.validate(name, options)


def test_none_takes_no_notice_of_file_options() -> None:
    driver.validate("none", {"max-size": "1m"})


def test_attributes_select_by_name() -> None:
    options = {"labels": "a,b", "env": "E,F"}
    assert driver.attributes(options, {"a": "1", "c": "2"}, ["E=x=y", "G=1", "F"]) == {"a": "1", "E": "x=y"}
