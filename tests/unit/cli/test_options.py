"""Command lines as the flag package of the docker CLI reads them; error texts as docker 28.2.2 printed them."""

from __future__ import annotations

import pytest

from corten.cli.options import Flag, HelpRequested, UsageError, parse

FLAGS = (
    Flag("all", "a", "bool", ""),
    Flag("detach", "d", "bool", ""),
    Flag("env", "e", "list", ""),
    Flag("last", "n", "int", "", -1),
    Flag("name", "", "string", ""),
    Flag("sig-proxy", "", "bool", "", True),
    Flag("weight", "w", "uint16", ""),
)


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["-ad"], {"all": True, "detach": True}),
        (["-d=false"], {"detach": False}),
        (["--sig-proxy=false"], {"sig-proxy": False}),
        (["--all", "x"], {"all": True}),
        (["-eA=1", "-e", "B=2", "--env=C=3", "-e=D"], {"env": ["A=1", "B=2", "C=3", "D"]}),
        (["-adn5"], {"all": True, "detach": True, "last": 5}),
        (["--last", "0x10"], {"last": 16}),
        (["--name", "--all"], {"name": "--all", "all": False}),
        (["--name="], {"name": ""}),
    ],
)
def test_values(words, values):
    given, _ = parse(FLAGS, words)
    assert {name: given._values[name] for name in values} == values


@pytest.mark.parametrize(
    ("words", "interspersed", "arguments"),
    [
        (["x", "-a", "y"], True, ["x", "y"]),
        (["-a", "x", "-a", "--nope"], False, ["x", "-a", "--nope"]),
        (["x", "--", "-a"], True, ["x", "-a"]),
        (["--", "-a", "--"], False, ["-a", "--"]),
        (["-"], True, ["-"]),
    ],
)
def test_arguments(words, interspersed, arguments):
    assert parse(FLAGS, words, interspersed=interspersed)[1] == arguments


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--foo"], "unknown flag: --foo"),
        (["-Z"], "unknown shorthand flag: 'Z' in -Z"),
        (["-aZd"], "unknown shorthand flag: 'Z' in -Zd"),
        (["-e"], "flag needs an argument: 'e' in -e"),
        (["--name"], "flag needs an argument: --name"),
        (["--=x"], "bad flag syntax: --=x"),
        (["-n", "x"], 'invalid argument "x" for "-n, --last" flag: strconv.ParseInt: parsing "x": invalid syntax'),
        (["--all=x"], 'invalid argument "x" for "-a, --all" flag: strconv.ParseBool: parsing "x": invalid syntax'),
        (
            ["-w", "70000"],
            'invalid argument "70000" for "-w, --weight" flag: strconv.ParseUint: parsing "70000": value out of range',
        ),
    ],
)
def test_errors(words, text):
    with pytest.raises(UsageError) as refusal:
        parse(FLAGS, words)
    assert str(refusal.value) == text


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["-a", "--help", "x"]])
def test_help(words):
    with pytest.raises(HelpRequested):
        parse(FLAGS, words)


def test_changed_tells_a_default_from_a_given_value():
    given, _ = parse(FLAGS, ["--last=-1"])
    assert given.changed == {"last"}
    assert given.number("last") == -1
