"""Which engine a command line speaks to, and how it says that it cannot."""

from __future__ import annotations

import io
import sys

import pytest

from corten.cli import catalog, config, main, options, summaries
from corten.cli.session import Session, Settings, default_socket
from corten.client.errors import ClientError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("HOST", "CONTEXT", "CONFIG", "TLS", "TLS_VERIFY", "CERT_PATH", "API_VERSION", "CUSTOM_HEADERS"):
        monkeypatch.delenv(f"DOCKER_{name}", raising=False)
        monkeypatch.delenv(f"CORTEN_{name}", raising=False)
    meta = tmp_path / "contexts" / "meta" / "key"
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(
        '{"Name":"far","Metadata":{"Description":"d"},"Endpoints":{"docker":{"Host":"tcp://far:1"}}}'
    )
    return tmp_path


def address(folder, *words: str) -> tuple[str, bool]:
    given, _ = options.parse(main.GLOBAL_FLAGS, ["--config", str(folder), *words], interspersed=False)
    endpoint, ours = Session(Settings(given)).endpoint()
    return endpoint.text, ours


def test_default_socket_is_the_only_one_an_engine_is_started_for(folder):
    assert address(folder) == (f"unix://{default_socket()}", True)
    assert address(folder, "-H", f"unix://{default_socket()}") == (f"unix://{default_socket()}", False)


def test_precedence(folder, monkeypatch):
    (folder / "config.json").write_text('{"currentContext":"far"}')
    assert address(folder) == ("tcp://far:1", False)
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert address(folder)[1]
    monkeypatch.setenv("DOCKER_HOST", "tcp://docker:1")
    assert address(folder)[0] == "tcp://docker:1"
    monkeypatch.setenv("CORTEN_HOST", "tcp://corten:1")
    assert address(folder)[0] == "tcp://corten:1"
    assert address(folder, "-H", "tcp://flag:1")[0] == "tcp://flag:1"
    assert address(folder, "-c", "far")[0] == "tcp://far:1"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-c", "far", "-H", "tcp://x"], "conflicting options: cannot specify both --host and --context"),
        (["-H", "tcp://x", "-H", "tcp://y"], "Specify only one -H"),
        (["-c", "nope"], 'unable to resolve docker endpoint: context "nope": context not found: open '),
    ],
)
def test_contradictions(folder, words, text):
    with pytest.raises(ClientError) as refusal:
        address(folder, *words)
    assert text in str(refusal.value)


def test_tls_needs_to_be_asked_for(folder, monkeypatch):
    (folder / "ca.pem").write_text("x")
    given, _ = options.parse(main.GLOBAL_FLAGS, ["--config", str(folder), "-H", "tcp://x"], interspersed=False)
    assert Session(Settings(given)).endpoint()[0].tls is None
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    endpoint = Session(Settings(given)).endpoint()[0]
    assert endpoint.port == 2376
    assert endpoint.tls is not None
    assert (endpoint.tls.ca, endpoint.tls.certificate, endpoint.tls.verify) == (f"{folder}/ca.pem", "", True)


def test_config_is_written_whole_and_private(folder):
    settings = config.Config(str(folder))
    settings.document["auths"] = {"r": {"auth": "eA=="}}
    settings.write()
    assert config.Config(str(folder)).mapping("auths") == {"r": {"auth": "eA=="}}
    assert (folder / "config.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["config.json"]


def test_broken_config_is_refused_not_replaced(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(ClientError, match=r"^loading config file: .*config\.json: "):
        config.Config(str(folder))
    assert (folder / "config.json").read_text() == "{"


def called(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    saved = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    try:
        return main.main(words), out.getvalue(), err.getvalue()
    finally:
        sys.stdout, sys.stderr = saved


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["foo"], 1, "corten: unknown command: corten foo\n\nRun 'corten --help' for more information\n"),
        (
            ["container", "foo"],
            1,
            (
                "corten: unknown command: corten container foo\n\nUsage:  corten container\n\n"
                "Run 'corten container --help' for more information\n"
            ),
        ),
        (
            ["run"],
            1,
            (
                "corten: 'corten run' requires at least 1 argument\n\n"
                "Usage:  corten run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nSee 'corten run --help' for more information\n"
            ),
        ),
        (
            ["container", "ls", "x"],
            1,
            (
                "corten: 'corten container ls' accepts no arguments\n\nUsage:  corten container ls [OPTIONS]\n\n"
                "Run 'corten container ls --help' for more information\n"
            ),
        ),
        (
            ["rename", "a"],
            1,
            (
                "corten: 'corten rename' requires 2 arguments\n\nUsage:  corten rename CONTAINER NEW_NAME\n\n"
                "Run 'corten rename --help' for more information\n"
            ),
        ),
        (
            ["ps", "--foo"],
            125,
            "unknown flag: --foo\n\nUsage:  corten ps [OPTIONS]\n\nRun 'corten ps --help' for more information\n",
        ),
        (
            ["--foo"],
            125,
            "unknown flag: --foo\n\nUsage:  corten [OPTIONS] COMMAND [ARG...]\n\nRun 'corten --help' for more information\n",
        ),
        (["help", "foo"], 1, "unknown help topic: foo\n"),
        (["build", "a"], 1, "corten: 'build' is not available yet\n"),
        (["-H", "ssh://h", "ps"], 1, "ssh://h: ssh:// hosts are not supported yet"),
    ],
)
def test_refusals(folder, words, code, text):
    result = called("--config", str(folder), *words) if words[0] != "--foo" else called(*words)
    assert result[0] == code
    assert result[1] == ""
    assert result[2].startswith(text)


@pytest.mark.parametrize("row", [row for row in catalog.COMMANDS if row.code], ids=lambda row: row.words)
def test_every_command_is_there_and_explains_itself(row):
    function, flags = main.load(row)
    code, out, err = called(*row.words.split(), "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage:  corten {row.words} {row.arguments}".rstrip())
    assert summaries.COMMANDS[row.words] in out
    assert all(f"--{flag.long}" in out for flag in flags if not flag.hidden)
    assert callable(function)


def test_every_shortcut_leads_to_its_command():
    names = [name for row in catalog.COMMANDS for name in (row.words, *row.aliases)]
    assert len(names) == len(set(names))
    for row in catalog.COMMANDS:
        for name in (row.words, *row.aliases):
            found = catalog.find([*name.split(), "x"])
            assert found is not None
            assert found[0] is row
            assert found[2] == ["x"]
